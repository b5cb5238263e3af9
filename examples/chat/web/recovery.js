// What was heard of one room: every message once and in order, and never a gap without a word.
//
// The last position that was handed out, {off, ep}, and a step for each thing the server may say about the room. A step
// returns what there is to tell: {message} or {gap: {after, missed}}, where missed is null if it cannot be known. The
// Python client does the same, in recovery.py.

const place = ({ off, ep }) => (Number.isSafeInteger(off) && typeof ep === "string" ? { off, ep } : null);

export class Recovery {
  last = null;
  member = false; // we have been in, and want to come back
  #told = 0; // messages behind the last one of which the server has said that it dropped them

  live(message) {
    const here = place(message);
    const last = this.last;
    const steps = [];
    if (here && last?.ep === here.ep) {
      if (here.off <= last.off) return steps;
      const missed = here.off - last.off - 1 - this.#told;
      if (missed > 0) steps.push({ gap: { after: last, missed } });
    } else if (here && last) steps.push({ gap: { after: last, missed: null } });
    if (here) {
      this.#told = 0;
      this.last = here;
    }
    return [...steps, { message }];
  }

  joined(answer) {
    const again = this.member;
    const top = place(answer);
    const steps = [];
    this.member = true;
    this.#told = 0;
    if (again && (!top || this.last?.ep !== top.ep || this.last.off > top.off)) {
      steps.push({ gap: { after: this.last, missed: null } });
      this.last = null;
    }
    for (const message of answer.msgs ?? []) steps.push(...this.live(message));
    if (!top) return steps;
    if (again && this.last?.ep === top.ep && this.last.off < top.off)
      steps.push({ gap: { after: this.last, missed: top.off - this.last.off } });
    this.last = top;
    return steps;
  }

  lagged(count) {
    this.#told += count;
    return [{ gap: { after: this.last, missed: count } }];
  }

  lost() {
    const after = this.last;
    this.last = null;
    this.#told = 0;
    return [{ gap: { after, missed: null } }];
  }
}

// What the session knows of itself, asked again and again. A browser's clock may be wrong: the server tells seconds.

const NEWS = "https://davide-hub.invalid/events/session-news";
const OFTEN = 10_000;
const SELDOM = 30_000;
// Shorter than the steps in which the time left is shown.
const TICK = 1000;

export class Facts {
  /** @param lab JupyterLab's packages. @param app Its application. */
  constructor(lab, app) {
    this.services = lab.services;
    this.settings = app.serviceManager.serverSettings;
    this.base = lab.coreutils.URLExt.join(this.settings.baseUrl, "davide");
    this.listeners = [];
    this.latest = null;
    this.failures = 0;
    this.turn = 0;
    this.outdated = 0;
    this.over = false;
    // The session says when there is something to ask for: a page in the background may else be minutes late.
    app.serviceManager.events.stream.connect((_, event) => {
      if (event.schema_id === NEWS) this.ask();
    });
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.ask();
    });
  }

  /** Call `listener(facts, failure)` after each answer, and each second while time runs short. */
  onNews(listener) {
    this.listeners.push(listener);
  }

  begin() {
    this.ask();
    this.ticking = window.setInterval(() => this.tell(null), TICK);
  }

  async request(name, method = "GET", body = undefined) {
    const url = `${this.base}/${name}?no_track_activity=1`;
    const answer = await this.services.ServerConnection.makeRequest(
      url,
      { method, body: body && JSON.stringify(body), cache: "no-store", redirect: "manual" },
      this.settings
    );
    if (!answer.ok) throw new this.services.ServerConnection.ResponseError(answer, await sentence(answer));
    return answer.json();
  }

  async ask() {
    if (this.over) return;
    window.clearTimeout(this.timer);
    const turn = (this.turn += 1);
    let failure = null;
    let facts = null;
    try {
      facts = await this.request("facts");
    } catch (error) {
      failure = error;
    }
    if (this.over || turn !== this.turn) return; // somebody has asked since
    if (facts && turn > this.outdated) this.take(facts);
    this.failures = facts ? 0 : this.failures + 1;
    this.tell(failure);
    if (!this.over) this.timer = window.setTimeout(() => this.ask(), failure || this.isShort() ? OFTEN : SELDOM);
  }

  take(facts) {
    this.outdated = this.turn; // what was asked until now
    this.latest = facts;
    this.received = Date.now();
  }

  /** Ask no more: the session is over. Listeners are told this once. */
  stop() {
    window.clearTimeout(this.timer);
    window.clearInterval(this.ticking);
    this.over = true;
    this.tell(null);
  }

  tell(failure) {
    if (!this.latest && !failure) return;
    for (const listener of this.listeners) listener(this, failure);
  }

  /** Seconds until the time limit; null if nobody knows. */
  get left() {
    return this.counted(this.latest?.walltime.left_seconds);
  }

  /** Seconds until the session ends for lack of use; null if it does not. */
  get idleLeft() {
    return this.counted(this.latest?.idle.left_seconds);
  }

  counted(seconds) {
    return seconds === null || seconds === undefined ? null : seconds - (Date.now() - this.received) / 1000;
  }

  isShort() {
    const kernels = (this.latest?.job_kernels ?? []).map((one) => this.counted(one.idle_left_seconds));
    const times = [this.left, this.idleLeft, ...kernels].filter((one) => one !== null);
    return times.some((one) => one < 1200);
  }
}

async function sentence(answer) {
  try {
    return (await answer.json()).message || answer.statusText;
  } catch {
    return answer.statusText;
  }
}

// What the page asks of the server: see cli/serve_api.h.

export class ApiError extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

async function send(url, options) {
  let answer;
  try {
    answer = await fetch(url, options);
  } catch (e) {
    if (e.name === "AbortError") throw e;
    throw new ApiError(0, "The server does not answer. Is lethe serve still running?");
  }
  if (answer.ok) return answer;
  let text = `The server answers with status ${answer.status}.`;
  try {
    text = (await answer.json()).error || text;
  } catch {
    // no JSON: the status has to do
  }
  throw new ApiError(answer.status, text);
}

function post(url, type, body, signal) {
  return send(url, {method: "POST", headers: {"Content-Type": type}, body, signal});
}

// The lines of a streamed answer, as they come.
async function* lines(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const {value, done} = await reader.read();
    if (done) break;
    const part = (rest + value).split("\n");
    rest = part.pop();
    for (const line of part) {
      const said = JSON.parse(line);
      if (said.error) throw new ApiError(200, said.error);
      yield said;
    }
  }
}

export async function model() {
  return (await send("api/model")).json();
}

// Yields {id, width, height}, then {ahead} or {share} again and again, then {ready}.
export async function* embed(file, signal) {
  yield* lines(await post("api/image", "application/octet-stream", file, signal));
}

// prompt: {points, box, multimask} -> [mask]
export async function masks(id, prompt, signal) {
  return (await (await post(`api/image/${id}/masks`, "application/json", JSON.stringify(prompt), signal)).json()).masks;
}

// settings: {side, iou, stability}. Yields {ahead} or {share}, then {masks}.
export async function* everything(id, settings, signal) {
  yield* lines(await post(`api/image/${id}/everything`, "application/json", JSON.stringify(settings), signal));
}

export function remove(id) {
  fetch(`api/image/${id}`, {method: "DELETE", keepalive: true}).catch(() => {});
}

// Requests to the listener that the page came from. The key goes into the Authorization header, and nowhere else.

// An answer to an act may wait for a node to be idle, which takes 20 s at most.
const READ_LIMIT = 10_000;
const ACT_LIMIT = 40_000;

let key = null;

// Kind: 'away' (no answer came), 'key' (the listener wants another key), 'refused' (any other error of the gateway).
export class Fault extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

export function useKey(text) {
  key = text;
}

export function hasKey() {
  return key !== null;
}

async function send(method, path, body, limit) {
  const headers = {};
  if (key !== null) headers.Authorization = `Bearer ${key}`;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  const options = { method, headers, cache: 'no-store', credentials: 'omit', redirect: 'error', signal: AbortSignal.timeout(limit) };
  if (body !== undefined) options.body = JSON.stringify(body);
  let text, answer;
  try {
    answer = await fetch(path, options);
    text = await answer.text();
  } catch (error) {
    const late = error.name === 'TimeoutError';
    throw new Fault('away', late ? `no answer within ${limit / 1000} s` : 'the gateway cannot be reached');
  }
  if (answer.ok) return text;
  let message = `status ${answer.status}`;
  try {
    message = String(JSON.parse(text).message ?? message);
  } catch {
    // Something in front of the gateway has answered; the status is all that it says.
  }
  throw new Fault(answer.status === 401 || (answer.status === 403 && method === 'GET') ? 'key' : 'refused', message);
}

async function json(method, path, body, limit) {
  const text = await send(method, path, body, limit);
  try {
    return JSON.parse(text);
  } catch {
    throw new Fault('refused', 'the answer is not JSON');
  }
}

export function read(path) {
  return json('GET', path, undefined, READ_LIMIT);
}

export function readText(path) {
  return send('GET', path, undefined, READ_LIMIT);
}

export function act(method, path, body) {
  return json(method, path, body, ACT_LIMIT);
}

// The demo page. This browser is the relying party: it calls the public /v1
// API itself. /demo/* only supplies the token and shows what happened inside.
// Texts go in by textContent alone.
'use strict';

const $ = (id) => document.getElementById(id);

function el(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [k, v] of Object.entries(props || {})) {
    if (k === 'data') Object.assign(node.dataset, v);
    else if (k in node) node[k] = v;
    else node.setAttribute(k, v);
  }
  node.append(...children.filter((c) => c !== null && c !== undefined));
  return node;
}

const wait = (ms) => new Promise((done) => setTimeout(done, ms));

// ---------------------------------------------------------------- the API

let setup = null;
let held = null; // the token at hand

async function getJSON(path) {
  const res = await fetch(path);
  const body = await res.json().catch(() => ({}));
  if (!res.ok) throw new Error(body.code || 'HTTP ' + res.status);
  return body;
}

async function token(fresh) {
  if (fresh || !held || Date.parse(held.expires_at) - Date.now() < 30000) {
    held = await getJSON('/demo/token');
    $('client').textContent = held.client;
  }
  return held.access_token;
}

const requests = {
  challenge: () => ({
    method: 'POST', path: '/v1/challenges', key: newKey(),
    body: { pinfl: person().pinfl, purpose: $('purpose').value, locale: $('locale').value },
  }),
  state: (id, after) => ({ method: 'GET', path: '/v1/challenges/' + id + '?timeoutMs=20000&after=' + (after || 0) }),
  verify: (id, code) => ({
    method: 'POST', path: '/v1/challenges/' + id + '/verify', key: newKey(), body: { code },
  }),
  notice: () => {
    const slots = { ...setup.notice.slots };
    if (setup.notice.now_slot) slots[setup.notice.now_slot] = new Date().toISOString().slice(0, 19) + 'Z';
    return {
      method: 'POST', path: '/v1/notifications', key: newKey(),
      body: { pinfl: person().pinfl, text_id: setup.notice.text_id, slots, locale: $('locale').value },
    };
  },
  // What the operator tells has a number in it, and his token: the demo sends it for him.
  topUp: () => ({ method: 'POST', path: '/demo/top-up/' + ($('person').selectedIndex + 1), open: true }),
};

function newKey() { return crypto.randomUUID(); }
function person() { return setup.persons[$('person').selectedIndex] || setup.persons[0]; }

// call sends a request and keeps the exchange as it was, for the timeline.
async function call(req) {
  const bearer = await token();
  const headers = { Authorization: 'Bearer ' + bearer };
  if (req.key) headers['Idempotency-Key'] = req.key;
  const body = req.body ? JSON.stringify(req.body) : undefined;
  if (body) headers['Content-Type'] = 'application/json';
  const at = Date.now();
  const t0 = performance.now();
  const res = await fetch(req.path, { method: req.method, headers, body });
  const text = await res.text();
  const took = performance.now() - t0;
  if (res.status === 401) held = null;
  let json = {};
  try { json = JSON.parse(text); } catch { /* shown as text */ }
  const sent = [req.method + ' ' + req.path + ' HTTP/1.1', 'Host: ' + location.host];
  for (const [k, v] of Object.entries(headers)) {
    sent.push(k + ': ' + (k === 'Authorization' ? v.slice(0, 22) + '…' + v.slice(-6) : v));
  }
  const got = ['HTTP/1.1 ' + res.status + (res.statusText ? ' ' + res.statusText : '')];
  res.headers.forEach((v, k) => got.push(k + ': ' + v));
  return {
    at, took, status: res.status, ok: res.ok, json,
    blocks: [
      { title: 'Request', text: sent.join('\n') + '\n\n' + (body || '') },
      { title: 'Answer, after ' + ms(took), text: got.join('\n') + '\n\n' + pretty(json, text) },
    ],
  };
}

function pretty(json, text) {
  return json && Object.keys(json).length ? JSON.stringify(json, null, 2) : text;
}

// problem words an RFC 9457 answer.
function problem(x) {
  const j = x.json || {};
  const field = j.field ? ' (' + j.field + ')' : '';
  return (j.detail || j.title || 'HTTP ' + x.status) + (j.code ? ' [' + j.code + field + ']' : '');
}

// ---------------------------------------------------------------- copy as curl

const quote = (s) => "'" + s.replaceAll("'", "'\\''") + "'";

async function curl(req) {
  const parts = ['curl -sS -X ' + req.method + ' ' + quote(location.origin + req.path)];
  if (!req.open) parts.push('-H ' + quote('Authorization: Bearer ' + await token(true)));
  if (req.key) parts.push('-H ' + quote('Idempotency-Key: ' + req.key));
  if (req.body) {
    parts.push('-H ' + quote('Content-Type: application/json'));
    parts.push('-d ' + quote(JSON.stringify(req.body)));
  }
  return parts.join(' \\\n  ');
}

async function copyCurl(make) {
  const req = make();
  let text;
  try {
    text = await curl(req);
  } catch (err) {
    toast('No token: ' + err.message);
    return;
  }
  try {
    await navigator.clipboard.writeText(text);
    toast((req.open ? 'Copied.' : 'Copied, with a live token.') + ' Paste it in a terminal.');
  } catch {
    $('manual-text').value = text;
    $('manual').showModal();
    $('manual-text').select();
  }
}

let toastTimer = 0;
function toast(text) {
  $('toast').textContent = text;
  $('toast').classList.add('shown');
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => $('toast').classList.remove('shown'), 2600);
}

// ---------------------------------------------------------------- words

function ms(n) {
  if (n === 0) return '0 ms';
  if (n < 9.95) return n.toFixed(1) + ' ms';
  if (n < 999.5) return Math.round(n) + ' ms';
  if (n < 60000) return (n / 1000).toFixed(2) + ' s';
  return (n / 60000).toFixed(1) + ' min';
}

const layers = {
  accepted: ['HTTP', 'Request accepted', 'POST, answered 202'],
  record: ['Kafka', 'Request recorded', 'durable before the answer'],
  issued: ['Postgres', 'Code issued, Message row written', 'text sealed, the code kept as HMAC only'],
  lane: ['Kafka', 'Id put on the operator’s lane', 'an id: no text, no number'],
  admitted: ['Postgres', 'Admitted, money reserved', 'one statement decides'],
  submit: ['SMPP', 'submit_sm', 'the bridge opens the text and writes it'],
  resp: ['SMPP', 'submit_sm_resp', 'the operator takes it'],
  posted: ['Postgres', 'Charge posted', 'once for each Message'],
  receipt: ['SMPP', 'Delivery receipt', 'deliver_sm from the operator'],
  delivered: ['Postgres', 'Delivered', 'the Message’s terminal state'],
  verify: ['HTTP', 'Code sent back', 'POST verify'],
  confirmed: ['Postgres', 'Confirmation', 'the lasting evidence'],
};
const order = Object.keys(layers);
const noticeTitles = { issued: 'Text sealed, Message row written' };

const endings = {
  expired: 'The code’s time is over. Ask for a new one.',
  exhausted: 'Too many wrong codes: this one is dead. Ask for a new one.',
  lost: 'The live code was lost with Redis. Ask for a new one.',
  superseded: 'A newer request for the same person replaced this one.',
  cancelled: 'The request was cancelled.',
  conflict: 'This Idempotency-Key was used for another request.',
  unbound: 'This person has no bound number, so there is nobody to text.',
  no_funds: 'The person’s balance is not enough for the SMS. Top up, and ask again.',
  fenced: 'The binding changed after the code was issued.',
  undeliverable: 'The operator could not deliver the SMS.',
  failed: 'The code could not be sent.',
};

function result(state, title, text, tone) {
  const r = $('result');
  if (r.dataset.state === state && r.firstElementChild.textContent === title && r.lastElementChild.textContent === text) return;
  r.dataset.state = state;
  r.dataset.tone = tone || '';
  r.replaceChildren(el('strong', {}, title), el('span', {}, text));
}

function step(n) {
  document.querySelectorAll('.step[data-step]').forEach((s) => s.classList.toggle('now', s.dataset.step === String(n)));
}

// ---------------------------------------------------------------- a run: one request and what became of it

const runs = { challenge: null, notice: null };
let shown = 'challenge';

function begin(kind, x) {
  const run = { kind, id: x.json.id, accepted: x, tries: [], trace: null, firstRow: null, ended: false, kicked: null, polls: 0 };
  runs[kind] = run;
  show(kind);
  follow(run);
  return run;
}

const current = (run) => runs[run.kind] === run;

// follow reads the trace until nothing more can come; a PDU on the event
// stream makes it look at once.
async function follow(run) {
  const born = performance.now();
  while (current(run) && !run.ended && performance.now() - born < 15 * 60000) {
    try {
      take(run, await getJSON('/demo/trace/' + run.id));
    } catch { /* the next turn asks again */ }
    const age = performance.now() - born;
    const pause = age < 4000 ? 120 : age < 60000 ? 700 : 2000;
    await Promise.race([wait(pause), new Promise((go) => { run.kicked = go; })]);
  }
}

function kick() {
  for (const run of Object.values(runs)) if (run && run.kicked) run.kicked();
}

function take(run, trace) {
  if (!current(run)) return;
  // The sealed text is erased at the end; the row as it was first seen is kept
  // here, so that it can still be looked at.
  const issued = trace.hops.find((h) => h.key === 'issued');
  if (issued && issued.blocks) {
    const row = issued.blocks.find((b) => b.title === 'Message row');
    if (row && !run.firstRow && /"sealed": "\\\\x/.test(row.text)) {
      run.firstRow = { ...row, title: 'Message row, before its text was erased' };
      run.firstLine = issued.line;
    }
    if (row && run.firstRow) {
      issued.blocks[issued.blocks.indexOf(row)] = run.firstRow;
      issued.line = run.firstLine;
    }
  }
  run.trace = trace;
  run.ended = trace.ended;
  for (const s of trace.sms) text(s);
  if (run.kind === 'notice') noticeState(run);
  if (shown === run.kind) draw();
}

function hopsOf(run) {
  if (!run) return [];
  const start = run.trace ? Date.parse(run.trace.accepted_at) : run.accepted.at;
  const hops = run.trace ? run.trace.hops.map((h) => ({ ...h })) : [{ key: 'accepted', ms: 0, line: '' }];
  for (const h of hops) {
    if (h.key === 'accepted') {
      h.line = run.accepted.status + ' after ' + ms(run.accepted.took) + ' · ' + run.id.slice(0, 14) + '…';
      h.blocks = run.accepted.blocks;
    }
  }
  if (run.tries.length) {
    const last = run.tries[run.tries.length - 1];
    const hop = {
      key: 'verify', ms: Math.max(0, last.at - start), tone: last.right ? '' : 'bad',
      line: last.status + ' after ' + ms(last.took) + (last.right ? ' · right code' : ' · ' + (last.json.code || 'refused')),
      blocks: run.tries.flatMap((t, i) => t.blocks.map((b) => (
        run.tries.length > 1 ? { ...b, title: 'Try ' + (i + 1) + ': ' + b.title } : b))),
    };
    const before = hops.findIndex((h) => h.key === 'confirmed');
    hops.splice(before < 0 ? hops.length : before, 0, hop);
  }
  return hops;
}

// ---------------------------------------------------------------- the timeline

const drawn = new Map(); // name of a hop -> {li, sig}

function draw() {
  const run = runs[shown];
  const hops = hopsOf(run);
  const keys = shown === 'notice' ? order.filter((k) => k !== 'verify' && k !== 'confirmed') : order;
  const reached = hops.map((h) => h.key);
  // What has ended early will reach no further: hops that never come are not drawn.
  const coming = run && run.ended ? [] : keys.filter((k) => !reached.includes(k));
  const titleOf = (key) => (shown === 'notice' && noticeTitles[key]) || (layers[key] || ['', key])[1];
  // A Charge may be settled more than once: a hop is named by its key and which one of it this is.
  const nth = (i) => reached.slice(0, i).filter((k) => k === reached[i]).length;
  const want = [
    ...hops.map((h, i) => drawHop(h.key, nth(i), h.title || titleOf(h.key), h, run)),
    ...coming.map((key) => drawHop(key, 0, titleOf(key), null, run)),
  ];
  const list = $('hops');
  if (want.length !== list.children.length || want.some((li, i) => list.children[i] !== li)) list.replaceChildren(...want);
  const onPhone = hops.find((h) => h.key === 'submit');
  $('total').textContent = onPhone ? 'on the phone in ' + ms(onPhone.ms) : '';
  $('subject').textContent = run ? run.id : 'Each hop shows its time since the request and opens to its real bytes.';
  drawExplain(run);
}

function drawHop(key, nth, title, hop, run) {
  const name = nth ? key + ' ' + nth : key;
  const sig = JSON.stringify([run && run.id, title, hop || null]);
  let d = drawn.get(name);
  if (d && d.sig === sig) return d.li;
  if (!d) {
    d = { li: el('li', { data: { hop: key, layer: (layers[key] || [''])[0] } }) };
    drawn.set(name, d);
  }
  const li = d.li;
  const was = li.dataset.reached === 'true' && d.run === (run && run.id);
  d.sig = sig;
  const known = d.run === (run && run.id);
  d.run = run && run.id;
  li.dataset.reached = String(Boolean(hop));
  li.dataset.tone = (hop && hop.tone) || '';
  li.classList.toggle('fresh', Boolean(hop) && known && !was);
  const cells = [
    el('span', { className: 'mark' }),
    el('span', {},
      el('span', { className: 'name' }, title, el('span', { className: 'layer' }, (layers[key] || [''])[0])),
      el('span', { className: 'line' }, hop ? hop.line : (layers[key] || ['', '', ''])[2])),
    el('span', { className: 'ms' }, hop ? ms(hop.ms) : ''),
  ];
  if (!hop || !hop.blocks || !hop.blocks.length) {
    li.replaceChildren(el('div', { className: 'row' }, ...cells));
    return li;
  }
  const old = li.querySelector('details');
  if (old && was) {
    old.querySelector('summary').replaceChildren(...cells, el('span', { className: 'more' }));
    // The bytes are drawn again only if they changed: somebody may be reading.
    const bytesSig = JSON.stringify(hop.blocks);
    if (d.bytes !== bytesSig) old.lastElementChild.replaceWith(bytes(hop.blocks));
    d.bytes = bytesSig;
    return li;
  }
  d.bytes = JSON.stringify(hop.blocks);
  li.replaceChildren(el('details', {},
    el('summary', { className: 'row' }, ...cells, el('span', { className: 'more' })), bytes(hop.blocks)));
  return li;
}

function bytes(blocks) {
  return el('div', { className: 'bytes' }, ...blocks.map((b) => el('section', {},
    el('h4', {}, b.title),
    b.fields && b.fields.length ? el('table', {}, el('tbody', {}, ...b.fields.map((f) => (
      el('tr', {}, el('th', { scope: 'row' }, f.name), el('td', {}, f.value)))))) : null,
    b.text ? el('pre', { tabIndex: 0 }, b.text) : null)));
}

function drawExplain(run) {
  const steps = (run && run.trace && run.trace.explain) || [];
  $('explain').hidden = steps.length === 0;
  if (!steps.length) return;
  const start = Date.parse(run.trace.accepted_at);
  const lines = steps.map((s) => {
    const t = Date.parse(s.at) - start;
    const facts = Object.keys(s.facts || {}).sort().map((k) => '  ' + k + '=' + s.facts[k]).join('');
    return (t >= 0 ? '+' + ms(t) : '').padStart(10) + '  ' + s.hop.padEnd(13) + s.what + facts;
  });
  const all = lines.join('\n');
  if ($('explain-text').textContent !== all) $('explain-text').textContent = all;
}

function show(kind) {
  shown = kind;
  $('switch').hidden = !(runs.challenge && runs.notice);
  $('show-challenge').setAttribute('aria-pressed', String(kind === 'challenge'));
  $('show-notice').setAttribute('aria-pressed', String(kind === 'notice'));
  draw();
}

// ---------------------------------------------------------------- the handset

const seenTexts = new Set();

function text(s) {
  // What the operator refused is on no handset.
  if (s.kind !== 'submit' || s.status !== 0 || !s.text || s.to !== person().masked) return;
  const name = s.at + s.text;
  if (seenTexts.has(name)) return;
  seenTexts.add(name);
  // A run of digits that is no part of a date, a time or a number.
  const code = (s.text.match(/(?<![\d.:/+-])\d{4,10}(?![\d:/]|[.-]\d)/) || [''])[0];
  const body = el('span', {});
  const at = code ? s.text.indexOf(code) : -1;
  if (at < 0) body.append(s.text);
  else body.append(s.text.slice(0, at), el('mark', {}, code), s.text.slice(at + code.length));
  const meta = el('span', { className: 'meta' }, new Date(s.at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit' }));
  if (code) {
    const fill = el('button', { type: 'button', className: 'fill' }, 'Fill in');
    fill.addEventListener('click', () => {
      if ($('code').disabled) return;
      $('code').value = code;
      $('verify').focus();
    });
    meta.append(fill);
  }
  const old = $('sms');
  if (old) old.removeAttribute('id');
  const li = el('li', { id: 'sms', className: 'fresh', data: code ? { code } : {} }, body, meta);
  $('texts').append(li);
  while ($('texts').children.length > 20) $('texts').firstElementChild.remove();
  $('no-texts').hidden = true;
  if (s.from) $('number').textContent = s.from;
  $('texts').scrollTop = $('texts').scrollHeight;
}

function handsetOf() {
  const p = person();
  $('texts').replaceChildren();
  $('no-texts').hidden = false;
  seenTexts.clear();
  $('operator').textContent = p.operator || 'no number';
  $('number').textContent = p.masked || 'no bound number';
  $('pinfl').textContent = 'PINFL ' + p.pinfl + ' (synthetic)';
  purse();
}

// ---------------------------------------------------------------- the money

let accounts = null; // the newest word of the event stream, in the order of the persons

function atTime(iso) {
  const at = new Date(iso);
  return at.toDateString() === new Date().toDateString() ? at.toLocaleTimeString() : at.toLocaleString();
}

const stops = {
  balance: 'SMS stopped: the money is out',
  barred: 'SMS stopped: barred by the operator',
};

// purse shows the account of the chosen person.
function purse() {
  $('purse').hidden = !accounts;
  if (!accounts) return;
  const a = accounts[$('person').selectedIndex];
  if (!a) $('balance').replaceChildren('No number, so no account');
  else if (!a.known) $('balance').replaceChildren('The operator has not told the balance');
  else $('balance').replaceChildren('Balance ', el('strong', {}, a.balance + ' soum'));
  $('reserved').textContent = a && a.reserved !== '0.00' ? ' · ' + a.reserved + ' reserved' : '';
  for (const id of ['topup', 'curl-topup']) $(id).disabled = !a || (id === 'topup' && telling);
  const stopped = $('stopped');
  const why = a ? a.stopped : '';
  let then = '';
  if (why) {
    then = 'Since ' + atTime(a.since) + '. ';
    if (!a.probe_at) then += 'Until the operator says otherwise.';
    else if (Date.parse(a.probe_at) > Date.now()) then += 'The next SMS after ' + atTime(a.probe_at) + ' tries again.';
    else then += 'The next SMS tries again.';
  }
  // Drawn again only if it changed: it is read aloud.
  if (stopped.dataset.why === why && stopped.dataset.then === then) return;
  stopped.dataset.why = why;
  stopped.dataset.then = then;
  stopped.replaceChildren(...(why ? [el('strong', {}, stops[why] || 'SMS stopped: ' + why), el('span', {}, then)] : []));
}

let telling = false; // the operator tells of a top-up

async function topUp() {
  telling = true;
  purse();
  try {
    const res = await fetch(requests.topUp().path, { method: 'POST' });
    if (!res.ok) throw new Error('HTTP ' + res.status);
    toast('The operator tells of ' + (await res.json()).amount + ' soum.');
  } catch (err) {
    toast('Nothing was told: ' + err.message);
  } finally {
    telling = false;
    purse();
  }
}

function listen() {
  const es = new EventSource('/demo/events');
  es.onopen = () => { $('live').classList.add('on'); $('live-text').textContent = setup.handset ? 'live from the simulated operator' : 'live'; };
  es.onerror = () => {
    $('live').classList.remove('on');
    $('live-text').textContent = 'the demo does not answer';
    if (es.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
  };
  es.addEventListener('handset', (e) => { text(JSON.parse(e.data)); kick(); });
  es.addEventListener('counts', (e) => {
    const c = JSON.parse(e.data);
    for (const k of ['accepted', 'delivered', 'confirmed', 'lost', 'doubled']) $(k).textContent = c[k].toLocaleString('en');
    for (const k of ['lost', 'doubled']) $(k).dataset.count = c[k];
    $('charged').textContent = c.charged;
    broken.said = c.broken; // the system's word; a click shows its button before
    broken(c.broken);
  });
  es.addEventListener('accounts', (e) => { accounts = JSON.parse(e.data); purse(); });
  addEventListener('pagehide', () => es.close(), { once: true });
}

// ---------------------------------------------------------------- what a person does

async function busy(button, work) {
  button.disabled = true;
  try {
    await work();
  } catch (err) {
    toast('The demo does not answer: ' + err.message);
  } finally {
    button.disabled = false;
  }
}

// What is broken, in words; what a person can do about it is to ask for codes.
const troubles = {
  '': 'Everything works.',
  throttle: 'For some seconds the operator refuses every SMS as too fast. They wait, and go when it takes them again.',
  hang: 'For some seconds the operator answers nothing. What has no answer in 5 s is in doubt; a code goes once more.',
  kill: 'The bridge is dead. Another one starts in a moment and looks after what it had not finished.',
  recover: 'The bridge is coming back.',
};

// broken shows what is out of order. One thing at a time: until it is mended
// nothing else can be broken.
function broken(what) {
  const p = $('broken');
  if (p.dataset.broken !== what) p.textContent = troubles[what] || what;
  p.dataset.broken = what;
  for (const b of $('breaks').children) {
    b.disabled = what !== '';
    b.setAttribute('aria-pressed', String(b.id === what));
  }
}

async function breakIt(what) {
  broken(what);
  try {
    const res = await fetch('/demo/break/' + what, { method: 'POST' });
    if (!res.ok) throw new Error('HTTP ' + res.status);
  } catch (err) {
    broken('');
    toast('Nothing was broken: ' + err.message);
  }
}

async function ask(event) {
  event.preventDefault();
  await busy($('request'), async () => {
    result('asked', 'Asking…', '', 'wait');
    const x = await call(requests.challenge());
    if (x.status !== 202) {
      result('refused', 'Not accepted', problem(x), 'bad');
      return;
    }
    result('accepted', 'Accepted', 'The code is on its way.', 'wait');
    $('code').value = '';
    for (const id of ['code', 'verify', 'curl-verify', 'curl-state']) $(id).disabled = false;
    step(2);
    // On a small screen the phone is what to look at, not a keyboard over it.
    if (matchMedia('(max-width: 700px)').matches) $('phone').scrollIntoView({ block: 'center', behavior: 'smooth' });
    else $('code').focus({ preventScroll: true });
    poll(begin('challenge', x));
  });
}

// poll follows the public state as any relying party would: one long poll after
// the other until the challenge has ended.
async function poll(run) {
  let version = 0; // of the newest answer: the next one waits for more
  for (let failures = 0; current(run) && failures < 30;) {
    let x;
    const t0 = performance.now();
    try {
      x = await call(requests.state(run.id, version));
    } catch {
      failures++;
      await wait(1000);
      continue;
    }
    if (!current(run)) return;
    if (!x.ok) {
      failures++;
      await wait(1000);
      continue;
    }
    failures = 0;
    version = x.json.version ?? version;
    if (challengeState(x.json)) { kick(); return; }
    // An answer that came at once must not become a storm.
    if (performance.now() - t0 < 300) await wait(300);
  }
}

// challengeState draws an answer of GET /v1/challenges/{id}; true = ended.
function challengeState(j) {
  const to = j.number_masked || person().masked;
  switch (j.state) {
    case 'accepted':
      result('accepted', 'Accepted', 'The code is on its way.', 'wait');
      return false;
    case 'pending': {
      const sms = j.message && j.message.state;
      if ($('result').dataset.state === 'wrong') return false;
      if (sms === 'delivered') result('pending', 'The code is on the phone', 'Sent to ' + to + '. Type it in.', 'wait');
      else result('pending', 'The code is on its way', 'To ' + to + '.', 'wait');
      return false;
    }
    case 'confirmed':
      confirmed(j.confirmed_at);
      return true;
    default:
      result(j.state, 'Not confirmed: ' + j.state.replaceAll('_', ' '), endings[j.state] || j.reason || '', 'bad');
      closeCheck();
      return true;
  }
}

function confirmed(at) {
  const when = at ? new Date(at).toLocaleTimeString() : '';
  result('confirmed', 'Confirmed', 'This person holds this number' + (when ? ', ' + when : '') + '.', 'good');
  closeCheck();
}

function closeCheck() {
  for (const id of ['code', 'verify', 'curl-verify']) $(id).disabled = true;
  step(1);
}

async function check(event) {
  event.preventDefault();
  const run = runs.challenge;
  if (!run) return;
  let done = false;
  await busy($('verify'), async () => {
    const x = await call(requests.verify(run.id, $('code').value.trim()));
    if (!current(run)) return;
    x.right = x.ok && x.json.state === 'confirmed';
    run.tries.push(x);
    show('challenge');
    kick();
    if (x.right) {
      confirmed(x.json.confirmed_at);
      done = true;
      return;
    }
    const left = x.json.tries_left;
    const dead = Object.keys(endings).find((s) => x.json.code === 'challenge_' + s);
    if (dead || left === 0) {
      result(dead || 'exhausted', 'Not confirmed', endings[dead || 'exhausted'], 'bad');
      closeCheck();
      done = true;
      return;
    }
    if (left === undefined) result('refused', 'Not accepted', problem(x), 'bad');
    else result('wrong', 'Wrong code', left + (left === 1 ? ' try' : ' tries') + ' left.', 'bad');
    $('code').select();
  });
  if (done) $('verify').disabled = true;
}

async function sendNotice() {
  await busy($('notice'), async () => {
    $('notice-result').textContent = 'Asking…';
    const x = await call(requests.notice());
    if (x.status !== 202) {
      $('notice-result').textContent = 'Not accepted: ' + problem(x);
      return;
    }
    $('notice-result').textContent = 'Accepted, on its way.';
    begin('notice', x);
  });
}

function noticeState(run) {
  const t = run.trace;
  if (!t.ended) return;
  const end = t.hops.find((h) => h.key === 'delivered');
  $('notice-result').textContent = t.state === 'delivered' && end
    ? 'Delivered in ' + ms(end.ms) + '.' : 'Ended: ' + t.state.replaceAll('_', ' ') + '.';
}

// ---------------------------------------------------------------- start

function options(select, list) {
  select.replaceChildren(...list.map((c) => el('option', { value: c.id }, c.label)));
}

async function start() {
  const tick = () => { $('clock').textContent = new Date().toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }); if (setup) purse(); };
  tick();
  setInterval(tick, 5000);
  draw();
  step(1);
  $('ask').addEventListener('submit', ask);
  $('check').addEventListener('submit', check);
  $('notice').addEventListener('click', sendNotice);
  $('person').addEventListener('change', handsetOf);
  $('show-challenge').addEventListener('click', () => show('challenge'));
  $('show-notice').addEventListener('click', () => show('notice'));
  $('curl-request').addEventListener('click', () => copyCurl(requests.challenge));
  $('curl-state').addEventListener('click', () => copyCurl(() => requests.state(runs.challenge.id)));
  $('curl-verify').addEventListener('click', () => copyCurl(() => (
    requests.verify(runs.challenge.id, $('code').value.trim() || ($('sms') && $('sms').dataset.code) || '000000'))));
  for (const what of ['throttle', 'hang', 'kill']) $(what).addEventListener('click', () => breakIt(what));
  $('curl-notice').addEventListener('click', () => copyCurl(requests.notice));
  $('topup').addEventListener('click', topUp);
  $('curl-topup').addEventListener('click', () => copyCurl(requests.topUp));
  for (;;) {
    try {
      setup = await getJSON('/demo/setup');
      break;
    } catch { await wait(1000); }
  }
  options($('person'), setup.persons.map((p) => ({
    id: p.label, label: [p.label, p.operator, p.masked, p.note].filter(Boolean).join(' · '),
  })));
  options($('purpose'), setup.purposes || []);
  options($('locale'), setup.locales || []);
  const e = setup.engine;
  $('engine').textContent = [e.postgres, e.kafka, e.redis, e.smsc, e.version].filter(Boolean).join('  ·  ');
  document.querySelectorAll('.truth').forEach((n) => { n.hidden = !setup.controls; });
  $('phone').hidden = !setup.handset;
  $('no-handset').hidden = setup.handset;
  handsetOf();
  for (const id of ['request', 'curl-request', 'notice', 'curl-notice']) $(id).disabled = setup.persons.length === 0;
  listen();
  token().catch(() => { /* asked again by the first request */ });
}

start();

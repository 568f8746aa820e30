// Acts: what would come of one is shown first, then it is confirmed in a dialog, and what came of it is said.

import { act } from './api.js';
import { $, fillFacts, fillTable, make, setText, show } from './dom.js';
import { bytes, count, duration } from './figures.js';
import { judged, movesSummary, staleOf } from './views.js';

// What happens to the page after an act: { facts() what was read last, done(text) }.
let page;
let asked = null;

export function connect(given) {
  page = given;
  $('act-form').addEventListener('submit', (event) => {
    event.preventDefault();
    confirm();
  });
  $('act-no').addEventListener('click', () => $('act').close());
  $('act-force').addEventListener('change', () => allow());
  $('act').addEventListener('close', () => {
    asked = null;
  });
  // Escape while the gateway works would hide what comes of it.
  $('act').addEventListener('cancel', (event) => {
    if (asked?.busy) event.preventDefault();
  });
  $('pause').addEventListener('click', () => open(page.facts().rebalance?.state === 'paused' ? resume() : pause()));
}

const kept = new Map();

// The buttons of a node: the same elements from one look to the next.
export function buttons(node, drained) {
  if (!kept.has(node.id)) {
    const box = make('span', undefined, 'acts');
    const [drain, maintenance] = [make('button'), make('button')];
    drain.type = maintenance.type = 'button';
    drain.addEventListener('click', () => open(drain.dataset.back ? takeBack(node.id) : drainOf(node.id)));
    maintenance.addEventListener('click', () => open(maintenance.dataset.back ? endMaintenance(node.id) : beginMaintenance(node.id)));
    box.append(drain, ' ', maintenance);
    kept.set(node.id, box);
  }
  const box = kept.get(node.id);
  const away = node.state === 'maintenance';
  label(box.firstChild, drained, drained ? 'Take back…' : 'Drain…', drained ? `Take back ${node.id}` : `Drain ${node.id}`);
  label(box.lastChild, away, away ? 'End maintenance…' : 'Maintenance…', away ? `End maintenance of ${node.id}` : `Maintenance of ${node.id}`);
  return box;
}

function label(button, back, text, spoken) {
  if (back) button.dataset.back = 'yes';
  else delete button.dataset.back;
  setText(button, text);
  if (button.getAttribute('aria-label') !== spoken) button.setAttribute('aria-label', spoken);
}

const nodePath = (id) => `nodes/${encodeURIComponent(id)}`;

function drainOf(id) {
  return {
    title: `Drain ${id}`,
    what: `All shards move away from ${id}, which stays a member without any. Searches stay complete and writes go on meanwhile.`,
    yes: `Drain ${id}`,
    plan: () => moving({ drain: [id] }),
    run: () => act('POST', `${nodePath(id)}/drain`),
    said: (answer) => `${id} is drained. ${movesSummary(answer)}`,
  };
}

function takeBack(id) {
  return {
    title: `Take back ${id}`,
    what: `${id} may hold shards again, and gets its share. Searches stay complete and writes go on meanwhile.`,
    yes: `Take back ${id}`,
    plan: () => moving({ set: { [id]: { drained: false } } }),
    run: () => act('PATCH', nodePath(id), { drained: false }),
    said: (answer) => `${id} is taken back. ${movesSummary(answer)}`,
  };
}

function pause() {
  return {
    title: 'Pause the moves',
    what: 'Nothing new begins; copies that are under way end.',
    yes: 'Pause',
    plan: () => left(page.facts().rebalance),
    run: () => act('POST', 'rebalance/pause'),
    said: (answer) => `The moves are paused. ${movesSummary(answer)}`,
  };
}

function resume() {
  return {
    title: 'Resume the moves',
    what: 'What is left of the plan goes on.',
    yes: 'Resume',
    plan: () => left(page.facts().rebalance),
    run: () => act('POST', 'rebalance/resume'),
    said: (answer) => `The moves go on. ${movesSummary(answer)}`,
  };
}

function beginMaintenance(id) {
  return {
    title: `Maintenance of ${id}`,
    what: `${id} leaves service so that it can be restarted: reads leave it at once and new writes skip it. What it misses is copied when it returns.`,
    yes: `Take ${id} out of service`,
    plan: () => leaving(id),
    run: (force) => act('POST', `${nodePath(id)}/maintenance${force ? '?force=true' : ''}`),
    said: (answer) => (answer.idle ? `${id} is in maintenance and idle: it can be stopped now.` : `${id} is in maintenance, but requests to it are still under way.`),
  };
}

function endMaintenance(id) {
  return {
    title: `End maintenance of ${id}`,
    what: `${id} returns: it is probed, repaired, gets what it has missed, and serves again.`,
    yes: `Let ${id} return`,
    plan: () => {
      const facts = page.facts();
      return { facts: [['Replicas of it that have missed writes and are copied', facts.shards ? count(staleOf(facts.shards.shards, id)) : null]] };
    },
    run: () => act('DELETE', `${nodePath(id)}/maintenance`),
    said: (answer) => `${id} returns: it is ${answer.state}.`,
  };
}

// What a change would move, as the gateway says.
async function moving(change) {
  const plan = await act('POST', 'rebalance/plan', change);
  return {
    refusal: plan.refusal,
    facts: [
      ['Replicas that move', `${count(plan.replicas)} of ${count(plan.replicasInAll)}`],
      ['Documents to copy', plan.documents === null ? 'not known: a node does not answer' : `${count(plan.documents)} (${bytes(plan.bytes)})`],
      ['Takes about', plan.seconds === null ? null : duration(plan.seconds)],
    ],
    table: {
      caption: 'What each node holds, gets and gives up',
      heads: ['Node', 'Shards now', 'Afterwards', 'Arrive', 'Leave', 'Documents', 'Of its fair share, afterwards'],
      rows: plan.nodes.map((node) => ({
        key: node.id,
        cells: [
          node.id, ...[node.shards, node.shardsAfter, node.arrive, node.leave, node.documents].map(count),
          node.fairShareAfter === null ? '–' : `${Math.round(node.fairShareAfter * 100)} %`,
        ],
      })),
    },
  };
}

function left(rebalance) {
  const documents = rebalance.documents;
  return {
    facts: [
      ['Replicas moved', `${count(rebalance.replicas.done)} of ${count(rebalance.replicas.total)}`],
      ['Replicas left', count(rebalance.replicas.left)],
      ['Documents left', documents ? count(documents.left) : 'not known: a node does not answer'],
    ],
  };
}

// What lacks the node while it is away.
function leaving(id) {
  const { topology, shards } = page.facts();
  if (!topology || !shards) return { refusal: 'the shards are not known yet' };
  const own = judged(shards, topology).filter(({ owners }) => owners.includes(id));
  const others = own.map(({ serving }) => serving.filter((owner) => owner !== id).length);
  const without = others.filter((number) => number === 0).length;
  return {
    facts: [
      ['Shards of which it has a copy', count(own.length)],
      ['Of these with another copy that serves', count(own.length - without)],
      ['Of these without any while it is away', count(without)],
      ['Documents that move', '0'],
    ],
    force: without > 0 ? `Do it all the same: ${count(without)} shards are not found and cannot be written until it is back` : null,
  };
}

function drawPlan(plan) {
  const box = $('act-plan');
  box.replaceChildren();
  if (plan.refusal) box.append(make('p', `▲ This cannot be done: ${plan.refusal}`, 'bad'));
  if (plan.facts) {
    const list = make('dl');
    fillFacts(list, plan.facts);
    box.append(list);
  }
  if (plan.table) {
    const table = make('table');
    table.append(make('caption', plan.table.caption), make('thead'), make('tbody'));
    const row = make('tr');
    plan.table.heads.forEach((head, at) => {
      const cell = make('th', head, at ? 'wrap n' : undefined);
      cell.scope = 'col';
      row.append(cell);
    });
    table.tHead.append(row);
    fillTable(table, plan.table.rows, 'No nodes.');
    box.append(table);
  }
  show($('act-force-line'), Boolean(plan.force));
  setText($('act-force-text'), plan.force ?? '');
}

function allow() {
  const plan = asked?.planned;
  const may = Boolean(plan) && !plan.refusal && !asked.busy && (!plan.force || $('act-force').checked);
  $('act-yes').disabled = !may;
}

async function open(wish) {
  asked = { ...wish, planned: null, busy: false };
  const mine = asked;
  setText($('act-title'), wish.title);
  setText($('act-what'), wish.what);
  setText($('act-yes'), wish.yes);
  setText($('act-said'), 'The plan is being made…');
  $('act-plan').replaceChildren();
  $('act-force').checked = false;
  show($('act-force-line'), false);
  $('act-no').disabled = false;
  allow();
  $('act').showModal();
  try {
    const plan = await wish.plan();
    if (asked !== mine) return;
    mine.planned = plan;
    drawPlan(plan);
    setText($('act-said'), plan.refusal ? 'Nothing was changed.' : 'Nothing has been changed yet. Confirm to begin.');
  } catch (error) {
    if (asked === mine) setText($('act-said'), `▲ There is no plan: ${error.message}`);
  }
  allow();
}

async function confirm() {
  if (!asked || $('act-yes').disabled) return;
  const mine = asked;
  mine.busy = true;
  allow();
  $('act-no').disabled = true;
  setText($('act-said'), 'The gateway is asked…');
  try {
    const answer = await mine.run($('act-force').checked);
    mine.busy = false;
    $('act').close();
    page.done(mine.said(answer));
  } catch (error) {
    mine.busy = false;
    $('act-no').disabled = false;
    setText($('act-said'), `▲ It was not done: ${error.message}`);
    allow();
    // The button had the focus and lost it while it was disabled.
    $('act-no').focus();
  }
}

// What the sections show. Each view is given what was read, and changes the page.

import { $, bar, fillFacts, fillList, fillTable, make, setText, show } from './dom.js';
import { atMost, bytes, clock, count, duration, isoDuration, labelsOf, moment, perSecond, sum } from './figures.js';

const SHARDS_SHOWN = 50;

// A sign before each word, for those who do not see the colour.
const STATES = {
  up: ['● up', 'good'],
  joining: ['◐ joining', 'odd'],
  repairing: ['◐ repairing', 'odd'],
  maintenance: ['■ maintenance', 'odd'],
  down: ['▲ down', 'bad'],
};

const PHASES = { comparing: 'comparing and copying', cuttingOver: 'cutting over' };

export function stateCell(state, drained) {
  const [text, tone] = STATES[state] ?? [state, 'odd'];
  return { text: drained ? `${text}, drained` : text, tone };
}

// How many replicas of a node have missed a write, each shard once.
export function staleOf(shards, node) {
  return (shards ?? []).filter(({ stale }) => stale.some((one) => one.node === node)).length;
}

function remarks(node) {
  const all = [];
  if (node.refused) all.push(`not used: ${node.refused}`);
  if (node.residue) all.push(`${count(node.residue)} shards to be deleted there`);
  for (const repair of node.repairs ?? []) all.push(`index ${repair.index} is ${repair.state}${repair.refusal ? `: ${repair.refusal}` : ''}`);
  return all.join('; ') || '–';
}

// `acts` gives the buttons of a node.
export function nodes({ topology, rebalance, shards }, history, acts) {
  const drained = new Set((rebalance?.nodes ?? []).filter((node) => node.drained).map((node) => node.id));
  const rows = topology.nodes.map((node) => {
    const of = { node: node.id };
    const seconds = (part) => atMost(history.quantile('miroir_subrequest_duration_seconds', of, part));
    return {
      key: node.id,
      cells: [
        node.id,
        stateCell(node.state, drained.has(node.id)),
        { node: acts(node, drained.has(node.id)) },
        node.zone ?? '–',
        String(node.weight),
        count(node.shards),
        shards ? count(staleOf(shards.shards, node.id)) : '–',
        perSecond(history.rate('miroir_subrequests_total', of)),
        seconds(0.5),
        seconds(0.99),
        history.last ? count(sum(history.last, 'miroir_node_in_flight', of)) : '–',
        remarks(node),
      ],
    };
  });
  fillTable($('nodes-table'), rows, 'The cluster has no nodes.');
  const serving = topology.nodes.filter((node) => node.state === 'up').length;
  const all = [`${serving} of ${topology.nodes.length} nodes serve.`];
  for (const back of topology.takeBacks ?? []) all.push(`Settings of index ${back.index} are being taken back.`);
  setText($('nodes-said'), all.join(' '));
}

// Each shard with the owners that serve it and those that do not.
export function judged(shards, topology) {
  const states = new Map(topology.nodes.map((node) => [node.id, node.state]));
  return shards.shards.map(({ shard, owners, stale }) => {
    const away = [];
    const serving = owners.filter((owner) => {
      const missed = stale.filter(({ node }) => node === owner).map(({ index }) => index);
      const state = states.get(owner) ?? 'unknown';
      if (state !== 'up') away.push(`${owner} (${state})`);
      else if (missed.length) away.push(`${owner} (stale: ${missed.join(', ')})`);
      return state === 'up' && missed.length === 0;
    });
    const condition = serving.length === owners.length ? 'inSync' : serving.length ? 'degraded' : 'unavailable';
    return { shard, owners, serving, away, condition };
  });
}

export function shardsView({ topology, shards }) {
  const all = judged(shards, topology);
  const of = (condition) => all.filter((shard) => shard.condition === condition);
  const [degraded, unavailable] = [of('degraded'), of('unavailable')];
  fillList($('shards-counts'), [
    `● in sync: ${count(all.length - degraded.length - unavailable.length)}`,
    `◐ degraded: ${count(degraded.length)}`,
    `▲ unavailable: ${count(unavailable.length)}`,
  ]);
  const worst = unavailable.length ? 'Some documents cannot be found or written.' : degraded.length ? 'Everything is found; some shards have fewer copies in service than they should.' : 'Every copy of every shard serves.';
  setText($('shards-said'), `${count(all.length)} shards, ${topology.replicationFactor} copies of each wanted. ${worst}`);
  const rows = [...unavailable, ...degraded].slice(0, SHARDS_SHOWN).map((shard) => ({
    key: shard.shard,
    cells: [
      String(shard.shard),
      shard.condition === 'degraded' ? { text: '◐ degraded', tone: 'odd' } : { text: '▲ unavailable', tone: 'bad' },
      shard.serving.join(', ') || 'none',
      shard.away.join(', '),
    ],
  }));
  fillTable($('shards-table'), rows, 'None: all shards are in sync.');
}

function progressText(part) {
  const left = part.secondsLeft === null || part.secondsLeft === undefined ? '' : `, about ${duration(part.secondsLeft)} left`;
  const rate = part.perSecond === undefined ? '' : `, ${perSecond(part.perSecond)} a second`;
  return `${count(part.done)} of ${count(part.total)}${rate}${left}`;
}

export function movesSummary({ state, replicas }) {
  if (state === 'idle') return 'Nothing moves.';
  return `A plan is ${state}: ${count(replicas.done)} of ${count(replicas.total)} replicas moved.`;
}

export function moves(rebalance) {
  const { state, replicas, documents } = rebalance;
  const asked = rebalance.cause ? ` Asked for by: ${rebalance.cause}. Began at ${clock(rebalance.beganAt)}.` : '';
  setText($('moves-said'), movesSummary(rebalance) + asked);
  show($('moves-bars'), state !== 'idle');
  bar($('moves-replicas'), replicas.done, replicas.total);
  setText($('moves-replicas-text'), progressText(replicas));
  bar($('moves-documents'), documents?.done ?? 0, documents?.total ?? 0);
  if (!documents) $('moves-documents').removeAttribute('value');
  setText($('moves-documents-text'), documents ? progressText(documents) : 'not known: a node does not answer');
  fillList($('moves-waiting'), rebalance.waiting.map(({ reason }) => `Waits: ${reason}`));
  const pause = $('pause');
  show(pause, state === 'running' || state === 'paused');
  setText(pause, state === 'paused' ? 'Resume…' : 'Pause…');
  const rows = rebalance.nodes.map((node) => ({
    key: node.id,
    cells: [node.id, ...[node.shards, node.toArrive, node.arriving, node.toLeave, node.toDelete].map(count)],
  }));
  fillTable($('moves-table'), rows, 'No nodes.');
  const plans = [...rebalance.finished].sort((a, b) => String(b.endedAt).localeCompare(String(a.endedAt))).map((plan) => ({
    key: plan.beganAt,
    cells: [
      moment(plan.endedAt), plan.outcome, plan.cause, count(plan.replicas), count(plan.documents),
      duration((new Date(plan.endedAt) - new Date(plan.beganAt)) / 1000),
    ],
  }));
  fillTable($('plans-table'), plans, 'No plan has ended yet.');
}

const bars = new Map();

function copyBar(copy) {
  const key = JSON.stringify([copy.node, copy.index]);
  if (!bars.has(key)) {
    const element = make('span');
    element.append(make('progress'), make('span'));
    bars.set(key, element);
  }
  const element = bars.get(key);
  bar(element.firstChild, copy.documentsDone, copy.documents, `Copy of ${copy.index} to ${copy.node}`);
  setText(element.lastChild, ` ${count(copy.documentsDone)} of ${count(copy.documents)} (${bytes(copy.bytes)} sent)`);
  return element;
}

export function copies(resilver) {
  const running = resilver.running.map((copy) => ({
    key: JSON.stringify([copy.node, copy.index]),
    cells: [
      copy.node, copy.index, count(copy.shards), `${PHASES[copy.phase] ?? copy.phase}, pass ${copy.pass}`,
      { node: copyBar(copy) }, perSecond(copy.documentsPerSecond), duration(copy.secondsLeft),
    ],
  }));
  for (const key of bars.keys()) if (!running.some((row) => row.key === key)) bars.delete(key);
  const under = (row) => resilver.running.some(({ node, index }) => node === row.node && index === row.index);
  const failed = resilver.failed.filter((row) => !under(row)).map((row) => ({
    key: JSON.stringify(['failed', row.node, row.index]),
    cells: [
      row.node, row.index, '–', { text: '▲ stopped short, is tried again', tone: 'bad' },
      `${row.reason}: ${row.message} (attempt ${row.attempts}, ${clock(row.at)})`, '–', '–',
    ],
  }));
  const said = (row) => under(row) || resilver.failed.some(({ node, index }) => node === row.node && index === row.index);
  const waiting = resilver.stale.filter((row) => !said(row)).map((row) => ({
    key: JSON.stringify(['stale', row.node, row.index]),
    cells: [row.node, row.index, count(row.shards), { text: '◐ stale, waits for its copy', tone: 'odd' }, '–', '–', '–'],
  }));
  fillTable($('copies-table'), [...running, ...failed, ...waiting], 'None: no replica is stale.');
  const stale = resilver.stale.reduce((all, row) => all + row.shards, 0);
  setText($('copies-said'), stale ? `${count(stale)} replicas are stale; ${resilver.running.length} copies are under way.` : 'No replica is stale.');
}

const STATUSES = {
  succeeded: { text: '● succeeded', tone: 'good' },
  failed: { text: '▲ failed', tone: 'bad' },
  canceled: { text: '■ canceled', tone: 'odd' },
  processing: { text: '◐ processing', tone: 'odd' },
  enqueued: { text: '○ enqueued' },
};

export function tasks({ results, total }, history) {
  const rows = results.map((task) => ({
    key: task.uid,
    cells: [
      task.uid, task.indexUid, task.type, STATUSES[task.status] ?? task.status, moment(task.enqueuedAt),
      task.duration ? isoDuration(task.duration) : '–', task.error ? `${task.error.code}: ${task.error.message}` : '–',
    ],
  }));
  fillTable($('tasks-table'), rows, 'None.');
  const unfinished = history.last ? ` ${count(sum(history.last, 'miroir_tasks_live'))} of all have not ended.` : '';
  setText($('tasks-said'), `Kept of this kind: ${count(total)}.${unfinished}`);
}

const OUTCOMES = ['applied', 'skipped', 'refused', 'shadowed', 'failed'];

export function rules(gateway, history) {
  const rows = gateway.rules.map((rule, place) => ({
    key: rule,
    cells: [count(place + 1), rule, ...OUTCOMES.map((outcome) => (history.last ? count(sum(history.last, 'miroir_rules_total', { rule, outcome })) : '–'))],
  }));
  fillTable($('rules-table'), rows, 'The configuration has no rules.');
  setText($('rules-said'), gateway.rules.length ? `${gateway.rules.length} rules are in force.` : 'No rules are in force.');
}

export function gateway({ gateway: facts, topology, scrub }, history) {
  const of = history.last;
  const certificates = labelsOf(of, 'miroir_tls_certificate_days_left', 'file').map((file) => `${file}: ${count(sum(of, 'miroir_tls_certificate_days_left', { file }))} days left`);
  fillFacts($('gateway-facts'), [
    ['Version', facts.version],
    ['Has run for', duration(facts.secondsUp)],
    ['Cluster', topology?.cluster],
    ['Epoch of the topology', count(topology?.epoch)],
    ['Requests under way', of ? count(sum(of, 'miroir_requests_in_flight')) : null],
    ['Kept answers', of ? `${bytes(sum(of, 'miroir_cache_bytes'))}, ${count(sum(of, 'miroir_cache_requests_total', { result: 'hit' }))} hits` : null],
    ['Turned away since the start', of ? count(sum(of, 'miroir_rejected_total')) : null],
    ['Degraded answers since the start', of ? count(sum(of, 'miroir_degraded_answers_total')) : null],
    ['Scrub', scrub?.running ? 'runs' : scrub?.last ? `ended at ${moment(scrub.last.finishedAt ?? scrub.last.endedAt)}` : 'none yet since the start'],
    ['Certificates', certificates.join('; ') || 'none'],
    ['Of the configuration, at the next start', facts.atNextStart.join(', ') || 'nothing'],
  ]);
  setText($('gateway-line'), `version ${facts.version}, has run for ${duration(facts.secondsUp)}`);
}

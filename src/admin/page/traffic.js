// Rates and latencies of clients' requests.

import { $, fillTable, setText } from './dom.js';
import { atMost, count, labelsOf, perSecond, sum } from './figures.js';

const REQUESTS = 'miroir_requests_total';
const SECONDS = 'miroir_request_duration_seconds';

function cells(name, wanted, history) {
  const rate = (more) => perSecond(history.rate(REQUESTS, { ...wanted, ...more }));
  const failed = history.grown(REQUESTS, { ...wanted, status: /^5/ });
  const quantile = (part) => atMost(history.quantile(SECONDS, wanted, part));
  return [
    name, rate({}), rate({ status: /^4/ }), failed > 0 ? { text: `▲ ${rate({ status: /^5/ })}`, tone: 'bad' } : rate({ status: /^5/ }),
    quantile(0.5), quantile(0.95), quantile(0.99), count(sum(history.last, REQUESTS, wanted)),
  ];
}

export function traffic(history) {
  const routes = labelsOf(history.last, REQUESTS, 'route').map((route) => [route, history.grown(REQUESTS, { route }), sum(history.last, REQUESTS, { route })]);
  const asked = routes.filter(([, , all]) => all > 0).sort((a, b) => a[0].localeCompare(b[0]));
  const rows = asked.map(([route]) => ({ key: route, cells: cells(route, { route }, history) }));
  if (rows.length) rows.unshift({ key: ' all', cells: cells('all routes', {}, history) });
  fillTable($('traffic-table'), rows, 'No client has asked anything yet.');
  const seconds = Math.round(history.seconds);
  setText($('traffic-said'), seconds ? `Of the last ${seconds} s: ${perSecond(history.rate(REQUESTS, {}))} requests a second.` : 'Rates are shown from the second look on.');
}

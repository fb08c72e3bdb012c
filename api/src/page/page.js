// Shows what /live says, once a second. Whatever comes from the network becomes text, never markup.
'use strict';

const POINTS = 90;
const TOTALS = [
  { id: 'flow_samples', name: 'flow samples', unit: '/s' },
  { id: 'counters_samples', name: 'counter samples', unit: '/s' },
  { id: 'datagrams', name: 'datagrams', unit: '/s' },
  { id: 'bytes', name: 'sFlow received', unit: 'b/s', times: 8 },
];
const at = (id) => document.getElementById(id);
const history = Object.fromEntries(TOTALS.map(({ id }) => [id, []]));
let source = null;
let last = null;
let chosen = null;
let spread = null;

// Control characters and those that turn the direction of writing are shown as what they are: not for reading.
const clean = (text) => String(text).replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069]/g, '\ufffd');

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = clean(text);
  if (kind) made.className = kind;
  return made;
}

function scaled(number) {
  const steps = ['', 'k', 'M', 'G', 'T', 'P'];
  let step = 0;
  while (number >= 999.5 && step < steps.length - 1) { number /= 1000; step += 1; }
  const digits = number >= 100 || (step === 0 && Number.isInteger(number)) ? 0 : number >= 10 ? 1 : 2;
  return [number.toFixed(digits), steps[step]];
}

function quantity(number, unit) {
  const [digits, prefix] = scaled(number);
  return `${digits} ${prefix}${unit}`.trim();
}

function age(ms) {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds % 3600 / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor(seconds % 86400 / 3600)} h`;
}

// A card is made once; later only its numbers change.
function card(id, name) {
  let found = at(`card-${id}`);
  if (found) return found;
  found = element('div', undefined, 'card');
  found.id = `card-${id}`;
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', `0 0 ${POINTS - 1} 20`);
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('aria-hidden', 'true');
  for (const shape of ['polygon', 'polyline']) svg.append(document.createElementNS(svg.namespaceURI, shape));
  found.append(element('div', name, 'name'), element('div', '', 'number'), svg);
  at('cards').append(found);
  return found;
}

function number(found, digits, unit) {
  found.querySelector('.number').replaceChildren(element('span', digits), element('small', unit));
}

function draw(found, values) {
  const most = Math.max(...values, 1e-9);
  const points = values.map((value, n) => `${n + POINTS - values.length},${(19 - 18 * value / most).toFixed(2)}`);
  found.querySelector('polyline').setAttribute('points', points.join(' '));
  const first = POINTS - values.length;
  found.querySelector('polygon').setAttribute('points', `${first},20 ${points.join(' ')} ${POINTS - 1},20`);
}

function cards(seen) {
  const agents = card('agents', 'agents');
  number(agents, seen.agents.toLocaleString('en'), seen.live_flows ? `${seen.live_flows.toLocaleString('en')} live flows` : '');
  const passed = last ? (seen.uptime_ms - last.uptime_ms) / 1000 : 0;
  for (const { id, name, unit, times = 1 } of TOTALS) {
    const found = card(id, name);
    if (passed > 0) {
      history[id].push(Math.max(0, seen[id] - last[id]) * times / passed);
      if (history[id].length > POINTS) history[id].shift();
      const [digits, prefix] = scaled(history[id].at(-1));
      number(found, digits, prefix + unit);
      draw(found, history[id]);
    } else if (!history[id].length) {
      number(found, '–', '');
    }
  }
  const wrong = [[seen.errors, 'unreadable'], [seen.drops ?? 0, 'dropped']].filter(([count]) => count > 0);
  agents.title = wrong.map(([count, what]) => `${count} ${what}`).join(', ');
  if (wrong.length) {
    agents.querySelector('.number').append(element('small', wrong.map(([count, what]) => `${count} ${what}`).join(', '), 'bad'));
  }
}

function fill(table, heads, rows) {
  const head = element('tr');
  for (const [name, kind] of heads) {
    const cell = element('th', name, kind);
    cell.scope = 'col';
    head.append(cell);
  }
  const top = element('thead');
  top.append(head);
  const body = element('tbody');
  for (const row of rows) {
    const line = element('tr');
    for (const cell of row) line.append(cell);
    body.append(line);
  }
  table.replaceChildren(top, body);
}

// Key expressions are separated by commas; those within brackets belong to one of them.
function names(keys) {
  const found = [''];
  let depth = 0;
  for (const c of keys) {
    depth += c === '[' ? 1 : c === ']' ? -1 : 0;
    if (c === ',' && depth === 0) found.push(''); else found[found.length - 1] += c;
  }
  return found.map((name) => name.trim()).filter((name) => name);
}

function measured(value, kind) {
  if (kind === 'bytes') return quantity(value * 8, 'b/s');
  if (kind === 'bps') return quantity(value, 'b/s');
  if (kind === 'frames' || kind === 'fps') return quantity(value, 'pkt/s');
  return quantity(value, '/s');
}

function flows(seen) {
  const choice = at('flow');
  const known = [...choice.options].map((option) => option.value);
  if (known.join('\n') !== seen.flows.join('\n')) {
    choice.replaceChildren(...seen.flows.map((name) => {
      const option = element('option', name);
      option.value = name;
      return option;
    }));
  }
  choice.parentElement.hidden = seen.flows.length < 2;
  const flow = seen.flow;
  at('none').hidden = Boolean(flow);
  at('offer').hidden = !seen.writable;
  at('command').textContent = `curl -X PUT --data "{keys:'ipsource,ipdestination,stack',value:'bytes'}" ${location.origin}/flow/flows/json`;
  at('quiet').hidden = !flow || flow.top.length > 0;
  at('definition').textContent = flow ? clean(`${flow.name}: ${flow.value} by ${flow.keys || 'nothing, one total'}${flow.filter ? `, where ${flow.filter}` : ''}`) : '';
  if (!flow || !flow.top.length) {
    at('flows').replaceChildren();
    return;
  }
  if (choice.value !== flow.name) choice.value = flow.name;
  const wanted = names(flow.keys);
  const split = flow.top.map((one) => one.key.split(flow.fs));
  const even = wanted.length > 0 && split.every((parts) => parts.length === wanted.length);
  // `or:ipsource:ip6source` is read as what it mostly is.
  const keys = even ? wanted.map((name) => name.replace(/^(?:or|null):([^:[]+).*$/, '$1')) : ['flow'];
  const largest = Math.max(...flow.top.map((one) => one.value), 1e-9);
  const rows = flow.top.map((one, n) => {
    const cells = (even ? split[n] : [one.key || 'all']).map((part) => {
      const cell = element('td', part);
      cell.title = clean(part);
      return cell;
    });
    cells.push(element('td', measured(one.value, flow.value), 'right'));
    const share = element('td', undefined, 'share right');
    const bar = element('div');
    bar.style.width = `${(100 * one.value / largest).toFixed(1)}%`;
    share.append(bar);
    cells.push(share, element('td', one.dataSource ? `${one.agent} > ${one.dataSource}` : one.agent, 'right quiet wide'));
    return cells;
  });
  fill(at('flows'), [...keys.map((key) => [key]), ['rate', 'right'], ['', 'share'], ['seen by', 'right wide']], rows);
}

function agents(seen) {
  if (!seen.agent_list) return;
  const before = new Map((spread?.list ?? []).map((agent) => [agent.agent, agent]));
  const passed = spread ? (seen.uptime_ms - spread.uptime_ms) / 1000 : 0;
  const rows = seen.agent_list.map((agent) => {
    const was = before.get(agent.agent);
    const rate = (field) => (was && passed > 0 ? quantity(Math.max(0, agent[field] - was[field]) / passed, '') : '');
    return [
      element('td', agent.agent),
      element('td', rate('flow_samples'), 'right'),
      element('td', rate('counters_samples'), 'right wide'),
      element('td', agent.lost ? agent.lost.toLocaleString('en') : '0', agent.lost ? 'right bad' : 'right'),
      element('td', agent.last_seen_ms < 2000 ? 'now' : `${age(agent.last_seen_ms)} ago`, 'right'),
    ];
  });
  spread = { list: seen.agent_list, uptime_ms: seen.uptime_ms };
  at('no-agents').hidden = rows.length > 0;
  if (!rows.length) return;
  const heads = [['agent'], ['flow samples/s', 'right'], ['counter samples/s', 'right wide'], ['lost', 'right'], ['seen', 'right']];
  fill(at('agents'), heads, rows);
}

function interfaces(seen) {
  if (!seen.interfaces) return;
  at('no-interfaces').hidden = seen.interfaces.length > 0;
  const rows = seen.interfaces.map((cells) => {
    const [into, out, speed, name, host] = cells.map((cell) => cell?.metricValue);
    const { agent, dataSource } = cells[0];
    const busy = speed ? `${(100 * 8 * Math.max(into, out ?? 0) / speed).toFixed(1)} %` : '';
    return [
      element('td', host ?? agent),
      element('td', name ?? dataSource),
      element('td', quantity(into * 8, 'b/s'), 'right'),
      element('td', out === undefined ? '' : quantity(out * 8, 'b/s'), 'right'),
      element('td', busy, 'right'),
    ];
  });
  if (!rows.length) { at('interfaces').replaceChildren(); return; }
  fill(at('interfaces'), [['agent'], ['interface'], ['in', 'right'], ['out', 'right'], ['busy', 'right']], rows);
}

// A list that has nothing in it takes no room.
function listed(id, heads, rows) {
  if (rows.length) fill(at(id), heads, rows); else at(id).replaceChildren();
}

function worded(text) {
  const cell = element('td', text ?? '', 'quiet wide');
  cell.title = clean(text ?? '');
  return cell;
}

const capped = (shown, all) => (all > shown ? ` (${shown} of ${all})` : '');

function scripts(seen) {
  if (!seen.scripts) return;
  const { all, rows, pages } = seen.scripts;
  at('scripts').hidden = !all && !pages.length;
  at('pages').replaceChildren(...pages.flatMap((name) => {
    const link = element('a', name);
    link.href = `/app/${encodeURIComponent(name)}/html/`;
    return [link, document.createTextNode(' ')];
  }));
  listed('script-list', [[`script${capped(rows.length, all)}`], [''], ['last error', 'wide'], ['lost', 'right'], ['processor time', 'right']],
    rows.map((one) => [
      element('td', one.name),
      element('td', one.alive ? 'runs' : one.over ? 'done' : 'ended', one.alive || one.over ? '' : 'bad'),
      worded(one.error),
      element('td', one.lost.toLocaleString('en'), one.lost ? 'right bad' : 'right'),
      element('td', quantity(one.cpu_ms / 1000, 's'), 'right'),
    ]));
}

function actions(seen) {
  const doing = seen.actions;
  at('actions').hidden = !doing;
  if (!doing) return;
  at('mode').textContent = clean(doing.mode);
  at('mode').className = `state ${{ act: 'live', withdraw: 'lost' }[doing.mode] ?? ''}`;
  const wrong = [
    doing.trouble,
    ...Object.entries(doing.swarmsInTrouble).map(([name, why]) => `swarm ${name}: ${why}`),
    ...doing.switchesInTrouble.map((one) => `switch ${one.agent} is ${one.state}: ${one.reason}`),
  ].filter((why) => why);
  at('trouble').hidden = !wrong.length;
  at('trouble').textContent = clean(wrong.join('; '));
  listed('services', [[`service${capped(doing.services.length, doing.servicesAll)}`], [''], ['why', 'wide'], ['bounds', 'right wide'], ['replicas', 'right'], ['seen', 'right']],
    doing.services.map((one) => [
      element('td', one.name),
      element('td', one.verdict ?? 'not looked at yet'),
      worded(one.reason),
      element('td', `${one.min} to ${one.max}`, 'right wide'),
      element('td', one.replicas ?? '–', 'right'),
      element('td', one.seen ?? '–', 'right'),
    ]));
  listed('captures', [[`capture${capped(doing.captures.length, doing.capturesAll)}`], ['with'], [''], ['why', 'wide'], ['listed as', 'wide'], ['switch', 'right']],
    doing.captures.map((one) => [
      element('td', one.local),
      element('td', one.remote),
      element('td', one.state, one.state === 'failed' ? 'bad' : ''),
      worded(one.reason),
      element('td', one.label, 'wide'),
      element('td', one.agent ?? 'none yet', 'right'),
    ]));
  at('feeds').textContent = clean(doing.feeds.map((one) => {
    const how = one.late ? 'late' : one.failing ? one.last : '';
    return `feed ${one.name}: ${one.entries.toLocaleString('en')} prefixes${how ? `, ${how}` : ''}`;
  }).join('; '));
  at('feeds').className = doing.feeds.some((one) => one.late) ? 'bad' : 'quiet';
}

function state(text, kind) {
  at('state').textContent = text;
  at('state').className = `state ${kind}`;
}

function show(event) {
  const seen = JSON.parse(event.data);
  // A collector that has begun anew counts from nothing.
  if (last && seen.uptime_ms < last.uptime_ms) { last = null; spread = null; }
  state('live', 'live');
  at('uptime').textContent = `up ${age(seen.uptime_ms)}`;
  at('version').textContent = clean(seen.version);
  cards(seen);
  flows(seen);
  actions(seen);
  scripts(seen);
  agents(seen);
  interfaces(seen);
  last = seen;
}

function watch() {
  if (source) source.close();
  source = new EventSource(chosen ? `/live?flow=${encodeURIComponent(chosen)}` : '/live');
  source.onmessage = show;
  source.onerror = () => {
    state('no answer, trying again', 'lost');
    // The flow may be gone, which a browser does not try again by itself.
    if (source.readyState === EventSource.CLOSED) { chosen = null; setTimeout(watch, 2000); }
  };
}

at('flow').addEventListener('change', (event) => { chosen = event.target.value; watch(); });
at('define').addEventListener('click', async () => {
  const flow = { keys: 'ipsource,ipdestination,stack', value: 'bytes' };
  const answer = await fetch('/flow/flows/json', { method: 'PUT', body: JSON.stringify(flow) });
  if (!answer.ok) at('definition').textContent = clean((await answer.json()).error);
});
watch();

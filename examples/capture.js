// author: the finderscope project
// version: 1.0
// description: Has switches mirror the traffic between local hosts and those of public lists to a capture host.

// What it is told with --set, as capture.to=10.0.0.70:
const told = (name, otherwise) => getSystemProperty('capture.' + name) || otherwise;
const to = told('to', '10.0.0.70');       // where mirrored packets go
const port = told('port', '8080');        // of a switch's rules
const hold = Number(told('hold_s', 600)); // how long a capture lasts without further traffic
const most = Number(told('most', 20)), perMinute = Number(told('per_minute', 10)); // captures
const every = Number(told('refresh_s', 3600)); // how often lists are read
const feeds = {
  compromised: told('compromised', 'https://rules.emergingthreats.net/blockrules/compromised-ips.txt'),
  block: told('block', 'https://rules.emergingthreats.net/fwrules/emerging-Block-IPs.txt'),
};

var lists = {}, captures = {}, begun = [], refused = {}, read = 0;

// A list is one address or network a line. One that cannot be read, or is suddenly less than half, is not taken.
function refresh() {
  const former = JSON.stringify(lists);
  for (const name of Object.keys(feeds)) {
    try {
      const lines = http(feeds[name]).split('\n').map(line => line.replace(/[#;].*/, '').trim());
      const list = lines.filter(line => /^(\d{1,3}\.){3}\d{1,3}(\/\d+)?$|^[\da-f]*:[\da-f:.]+(\/\d+)?$/i.test(line));
      const had = (lists[name] || []).length;
      if (!list.length || list.length < had / 2) throw new Error(list.length + ' entries instead of ' + had);
      lists[name] = list;
    } catch (e) { logWarning('list ' + name + ' stays as it is: ' + e); }
  }
  if (JSON.stringify(lists) === former) return;
  const says = Object.keys(lists).map(name => name + ' ' + lists[name].length).join(', ');
  if (setGroups('capture', lists)) logInfo('lists: ' + says);
  else logWarning('lists were not taken: ' + says);
}

// Asks an agent's switch for something. Only its answer, or that of whoever guards it, says that it is done.
function ask(agent, method, id, rules) {
  const host = agent.includes(':') ? '[' + agent + ']' : agent;
  const res = http2({url: 'http://' + host + ':' + port + '/acl/' + id, method,
    headers: {'Content-Type': 'application/json'}, body: rules && JSON.stringify(rules)});
  if (method === 'DELETE' && res.status === 404) return; // it has gone already
  if (res.status < 200 || res.status > 299) throw new Error('status ' + res.status + ': ' + String(res.body).trim());
}

function begin(agent, local, remote, list) {
  // One name for a pair: after a restart it is the same rule again. Names have small letters, digits and _.
  const id = 'pair_' + (local + '_' + remote).toLowerCase().replace(/\W/g, '_');
  const mirror = ' -j ERSPAN --src-ip ' + agent + ' --dst-ip ' + to;
  const rule = (from, to) => '-A FORWARD --in-interface swp+ -s ' + from + ' -d ' + to + mirror;
  const table = local.includes(':') ? '[ip6tables]' : '[iptables]';
  ask(agent, 'PUT', id, [table, '# list ' + list, rule(local, remote), rule(remote, local)]);
  logInfo('capturing ' + local + ' and ' + remote + ' of ' + list + ' on ' + agent + ' as ' + id);
  return {id, agent, local, remote, list, since: Date.now(), seen: Date.now()};
}

// Called with the first sample of a pair at each port of an agent, and again every minute while there are more.
function seen(rec) {
  const [local, remote, list] = rec.flowKeys.split(','), key = [rec.agent, local, remote].join(), now = Date.now();
  if (captures[key]) { captures[key].seen = now; return; }
  begun = begun.filter(at => now - at < 60000);
  const isMuch = begun.length >= perMinute || Object.keys(captures).length >= most;
  if (isMuch || now < (refused[key] || 0)) return;
  begun.push(now);
  try { captures[key] = begin(rec.agent, local, remote, list); }
  catch (e) {
    refused[key] = now + 60000;
    logWarning('no capture of ' + local + ' and ' + remote + ' on ' + rec.agent + ': ' + e);
  }
}

// Ends captures whose hosts are silent; what cannot be ended now is tried again.
function tidy(now) {
  for (const key of Object.keys(refused)) if (refused[key] < now) delete refused[key];
  for (const [key, {id, agent, seen}] of Object.entries(captures)) {
    if (now - seen < hold * 1000) continue;
    try { ask(agent, 'DELETE', id); delete captures[key]; logInfo(id + ' on ' + agent + ' has ended'); }
    catch (e) { logWarning(id + ' on ' + agent + ' does not end: ' + e); }
  }
}

setGroups('capture', {none: ['192.0.2.255']}); // flows look in it before the first list is read
for (const ip of ['ip', 'ip6']) {
  const keys = [ip + 'source', ip + 'destination', 'group:' + ip + 'destination:capture'];
  setFlow('capture_' + ip, {keys, value: 'frames', log: true, flowStart: true});
}
setFlowHandler(seen, ['capture_ip', 'capture_ip6']);
setIntervalHandler(now => { tidy(now); if (now - read > every * 1000) { read = now; refresh(); } }, 5);
setHttpHandler(() => ({captures: Object.values(captures), lists: Object.keys(lists).map(name => [name, lists[name].length])}));

// author: the finderscope project
// version: 1.0
// description: Keeps the load of a swarm's service between two limits, by the number of its tasks.

// What it is told with --set, as scale.service=web:
const told = (name, otherwise) => getSystemProperty('scale.' + name) || otherwise;
const swarm = told('swarm', 'https://10.0.0.134:2376'); // a manager's engine
const certs = told('certs', '/tls');                    // key.pem, cert.pem and ca.pem
const service = told('service', 'apache');
const least = Number(told('least', 1)), most = Number(told('most', 10)); // tasks
const low = Number(told('low', 20)), high = Number(told('high', 60));    // percent of a processor, a task
const rest = Number(told('rest_s', 10)), calm = Number(told('calm_s', 60)); // after a change, before a smaller number

var enabled = told('enabled', 'no') === 'yes';
var state = {service, replicas: null, seen: 0, load: null, says: 'has not looked yet'};
var quietSince = Date.now(), changed = 0;

// Says what is new, not every two seconds what is not.
function say(text, log) {
  if (text !== state.says) (log || logInfo)(service + ': ' + text);
  state.says = text;
}

// What the engine answers; anything but 200 is no answer.
function engine(path, more) {
  const res = http2(Object.assign({url: swarm + path}, swarm.startsWith('https:') && {certs}, more));
  if (res.status !== 200) throw new Error('status ' + res.status + ': ' + String(res.body).trim());
  return res.body;
}
const inspect = () => JSON.parse(engine('/services/' + encodeURIComponent(service)));

// Each task has a share of the load: how many would bring that share between the limits? Up at most twofold, down by one.
function wanted(replicas, load, now) {
  if (load > low || replicas <= least) quietSince = now;
  if (load > high) return Math.min(most, 2 * replicas, Math.ceil(replicas * load / ((low + high) / 2)));
  if (now - quietSince > calm * 1000 && replicas * load / (replicas - 1) < high) return replicas - 1;
  return replicas;
}

function scale(info, from, to) {
  info.Spec.Mode.Replicated.Replicas = to;
  engine('/services/' + info.ID + '/update?version=' + info.Version.Index,
    {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify(info.Spec)});
  // It has happened when the engine says so.
  const is = inspect().Spec.Mode.Replicated.Replicas;
  if (is !== to) return say('asked for ' + to + ' tasks, and somebody made it ' + is, logWarning);
  changed = quietSince = Date.now();
  say('from ' + from + ' to ' + to + ' tasks, at ' + state.load.toFixed(1) + ' % of a processor each');
}

function look(now) {
  const info = inspect(), replicated = info.Spec.Mode.Replicated;
  if (!replicated) return say('runs once on every node: it has no number to change', logWarning);
  state.replicas = replicated.Replicas;
  if (!state.replicas) return say('has no tasks: somebody has stopped it, and has to start it again');
  const name = service.replace(/[.+]/g, '\\$&') + '\\.*'; // SERVICE.SLOT.ID
  const [cpu] = metric('ALL', 'avg:vir_cpu_utilization', {vir_host_name: [name], vir_cpu_state: ['running']}) || [{}];
  [state.seen, state.load] = [cpu.metricN || 0, cpu.metricValue];
  // A task that was not seen may be idle or overloaded: nothing is decided before all are.
  if (state.seen !== state.replicas) return say('sees ' + state.seen + ' of ' + state.replicas + ' tasks');
  const to = Math.max(least, Math.min(most, wanted(state.replicas, state.load, now)));
  if (to === state.replicas) return say('has as many tasks as it needs, ' + to);
  if (!enabled) return say('would have ' + to + ' tasks instead of ' + state.replicas + ', but is disabled');
  if (now - changed > rest * 1000) scale(info, state.replicas, to);
}

setIntervalHandler(now => {
  try { look(now); } catch (e) { say('nothing was changed: ' + e, logWarning); }
}, 2);

// GET .../script/scale.js/json shows it; ?state=enabled and ?state=disabled change it.
setHttpHandler(req => {
  const [to] = req.query.state || [];
  if (to && to !== 'enabled' && to !== 'disabled') throw 'bad_request';
  if (to) enabled = to === 'enabled';
  return Object.assign({enabled}, state);
});

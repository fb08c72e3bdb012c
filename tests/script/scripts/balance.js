// description: keeps a service of a swarm between two loads, one replica at a time
// The calls, their order and their figures are those of the article's elb.js; the names and the words are not.

const manager = 'https://10.0.0.134:2376';
const folder = '/tls/';
const name = 'apache';

const least = {replicas: 1, cpu: 0.5, bytes: 50000};
const most = {replicas: 10, cpu: 1, bytes: 100000};
let active = false;

function read() {
  try {
    return JSON.parse(http2({url: `${manager}/services/${name}`, certs: folder}).body);
  } catch (error) {
    logWarning(`${name} cannot be read: ${error}`);
    return null;
  }
}

function write(service, replicas) {
  service.Spec.Mode.Replicated.Replicas = replicas;
  try {
    http2({
      url: `${manager}/v1.24/services/${service.ID}/update?version=${service.Version.Index}`,
      certs: folder,
      method: 'POST',
      headers: {'Content-Type': 'application/json'},
      body: JSON.stringify(service.Spec)
    });
  } catch (error) {
    logWarning(`${name} cannot be written: ${error}`);
  }
  logInfo(`${name} set replicas=${replicas}`);
}

setIntervalHandler(() => {
  const service = read();
  const replicas = service && service.Spec.Mode.Replicated.Replicas;
  if (!replicas) return;

  const [cpu, received, sent] = metric(
    'ALL', 'avg:vir_cpu_utilization,avg:vir_bytes_in,avg:vir_bytes_out',
    {vir_host_name: [name + '\\.*'], vir_cpu_state: ['running']}
  );
  if (cpu.metricN !== replicas || !active) return;
  const bytes = received.metricValue + sent.metricValue;

  if (replicas < most.replicas && (cpu.metricValue > most.cpu || bytes > most.bytes)) {
    write(service, replicas + 1);
  } else if (replicas > least.replicas && cpu.metricValue < least.cpu && bytes < least.bytes) {
    write(service, replicas - 1);
  }
}, 2);

setHttpHandler(request => {
  active = request.query && request.query.state && request.query.state[0] === 'enabled';
  return active ? 'enabled' : 'disabled';
});

// description: scales a service when it is asked to, in the version of the API in which the article scales it

const manager = 'https://10.0.0.134:2376';
const folder = '/tls/';

setHttpHandler(request => {
  const service = JSON.parse(http2({url: manager + '/services/apache', certs: folder}).body);
  service.Spec.Mode.Replicated.Replicas = Number(request.query.replicas[0]);
  const answer = http2({
    url: `${manager}/v1.24/services/${service.ID}/update?version=${service.Version.Index}`,
    certs: folder,
    operation: 'post',
    headers: {'Content-Type': 'application/json'},
    body: JSON.stringify(service.Spec)
  });
  return {status: answer.status, body: answer.body};
});

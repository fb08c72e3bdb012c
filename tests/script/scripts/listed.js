// description: captures the traffic to hosts of two lists
// The calls and their order are those of the article's emerging.js; the names and the words are not.

const analyzer = '10.0.0.70';
const lists = {
  compromised: 'https://rules.emergingthreats.net/blockrules/compromised-ips.txt',
  block: 'https://rules.emergingthreats.net/fwrules/emerging-Block-IPs.txt'
};
let count = 0;

function read(url) {
  try {
    return http(url).match(/^(\d{1,3}\.){3}\d{1,3}(\/\d{1,2})?$/mg) || [];
  } catch (error) {
    logWarning(`${url} cannot be read: ${error}`);
    return [];
  }
}

function mirror(from, to, agent) {
  return `-A FORWARD --in-interface swp+ -s ${from} -d ${to} -j ERSPAN --src-ip ${agent} --dst-ip ${analyzer}`;
}

function capture(local, remote, agent) {
  const id = 'emrg' + count++;
  logWarning(`capturing ${local} rule ${id} on ${agent}`);
  const rules = ['[iptables]', '# listed', mirror(local, remote, agent), mirror(remote, local, agent)];
  http(`http://${agent}:8080/acl/${id}`, 'PUT', 'application/json', JSON.stringify(rules));
}

const groups = {};
for (const name in lists) {
  const prefixes = read(lists[name]);
  if (prefixes.length > 0) groups[name] = prefixes;
}
setGroups('emerging', groups);

setFlow('emerging', {
  keys: 'ipsource,ipdestination,group:ipdestination:emerging', value: 'frames', log: true, flowStart: true
});

setFlowHandler(record => {
  const [local, remote] = record.flowKeys.split(',');
  try { capture(local, remote, record.agent); }
  catch (error) { logWarning(`not captured: ${error}`); }
});

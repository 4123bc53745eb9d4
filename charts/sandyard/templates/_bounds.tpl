{{- /* Generated from operator/sandyard/podspec/bound_table.py by hack/generate. Do not edit. */ -}}
{{- define "sandyard.boundAsks" -}}
object.spec.?template.hasValue() || object.spec.?network.hasValue() || object.spec.?allowedEgress.hasValue() || object.spec.?lifetime.?seconds.hasValue() || object.spec.?claimDefaults.?lifetime.?seconds.hasValue() || object.spec.?maxLifetimeSeconds.hasValue() || object.spec.?replicas.hasValue() || object.spec.?maxSandboxes.hasValue() || object.spec.?schedule.hasValue() || object.spec.?autoscale.?maxReplicas.hasValue()
{{- end }}
{{- define "sandyard.boundVariables" -}}
- name: allowRoot
  expression: {{ toJson .allowRoot | quote }}
- name: images
  expression: {{ toJson .images | quote }}
- name: runtimeClasses
  expression: {{ toJson .runtimeClasses | quote }}
- name: labels
  expression: {{ toJson .labels | quote }}
- name: annotations
  expression: {{ toJson .annotations | quote }}
- name: egress
  expression: {{ toJson .egress | quote }}
- name: cidrs
  expression: {{ toJson .cidrs | quote }}
- name: ports
  expression: {{ toJson .ports | quote }}
- name: nameservers
  expression: {{ toJson .nameservers | quote }}
- name: allowIngress
  expression: {{ toJson .allowIngress | quote }}
- name: ingressNamespaces
  expression: {{ toJson .ingressNamespaces | quote }}
- name: maxCpu
  expression: {{ toJson .maxCpu | quote }}
- name: maxMemory
  expression: {{ toJson .maxMemory | quote }}
- name: maxEphemeralStorage
  expression: {{ toJson .maxEphemeralStorage | quote }}
- name: maxWorkspace
  expression: {{ toJson .maxWorkspace | quote }}
- name: maxTmp
  expression: {{ toJson .maxTmp | quote }}
- name: maxPersistent
  expression: {{ toJson .maxPersistent | quote }}
- name: minCpuRequestPercent
  expression: {{ toJson .minCpuRequestPercent | quote }}
- name: minMemoryRequestPercent
  expression: {{ toJson .minMemoryRequestPercent | quote }}
- name: storageClasses
  expression: {{ toJson .storageClasses | quote }}
- name: nodeSelector
  expression: {{ toJson .nodeSelector | quote }}
- name: tolerations
  expression: {{ toJson .tolerations | quote }}
- name: priorityClasses
  expression: {{ toJson .priorityClasses | quote }}
- name: imagePullSecrets
  expression: {{ toJson .imagePullSecrets | quote }}
- name: maxLifetimeSeconds
  expression: {{ toJson .maxLifetimeSeconds | quote }}
- name: maxGraceSeconds
  expression: {{ toJson .maxGraceSeconds | quote }}
- name: maxSandboxes
  expression: {{ toJson .maxSandboxes | quote }}
- name: beyond_template_user_uid_allowRoot
  expression: >-
    object.spec.?template.?user.?uid.optMap(v, [v]).orValue([]).filter(v, v == 0).filter(i,
    !(variables.allowRoot)).map(i, string(i))
- name: beyond_template_image_images
  expression: >-
    object.spec.?template.?image.optMap(v, [string(v)]).orValue([]).filter(i, !(variables.images.size() == 0
    || variables.images.exists(e, i.matches(e)))).map(i, string(i))
- name: beyond_template_runtimeClassName_runtimeClasses
  expression: >-
    object.spec.?template.?runtimeClassName.optMap(v, [string(v)]).orValue([]).filter(i, !(i in
    variables.runtimeClasses || variables.runtimeClasses.size() == 0)).map(i, string(i))
- name: beyond_template_labels_labels
  expression: >-
    object.spec.?template.?labels.orValue({}).map(v, string(v)).filter(i, !(variables.labels.exists(e,
    i.startsWith(e)))).map(i, string(i))
- name: beyond_template_annotations_annotations
  expression: >-
    object.spec.?template.?annotations.orValue({}).map(v, string(v)).filter(i,
    !(variables.annotations.exists(e, i.startsWith(e)))).map(i, string(i))
- name: beyond_template_network_egress_egress
  expression: >-
    object.spec.?template.?network.?egress.optMap(v, [string(v)]).orValue([]).filter(i, !(i in
    variables.egress)).map(i, string(i))
- name: beyond_template_network_allow_cidrs
  expression: >-
    object.spec.?template.?network.?allow.orValue([]).map(v, string(v.cidr)).filter(i,
    !(variables.cidrs.exists(e, e == 'public' ? !["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8",
    "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4",
    "240.0.0.0/4", "2001::/23", "2002::/16"].exists(p, (cidr(p).prefixLength() <= cidr(i).prefixLength() &&
    cidr(p).containsIP(cidr(i).ip())) || (cidr(i).prefixLength() <= cidr(p).prefixLength() &&
    cidr(i).containsIP(cidr(p).ip()))) && (cidr(i).ip().family() == 4 || (cidr('2000::/3').prefixLength() <=
    cidr(i).prefixLength() && cidr('2000::/3').containsIP(cidr(i).ip()))) : (cidr(e).prefixLength() <=
    cidr(i).prefixLength() && cidr(e).containsIP(cidr(i).ip()))))).map(i, string(i))
- name: beyond_template_network_allow_ports
  expression: >-
    object.spec.?template.?network.?allow.orValue([]).filter(i, !((has(i.ports) ? i.ports.map(p,
    string(p.port) + '/' + (has(p.protocol) ? string(p.protocol) : 'TCP')) : ['all']).all(w,
    variables.ports.exists(e, !e.startsWith('!') && (e.endsWith('*') ? w.startsWith(e.substring(0, e.size() -
    1)) : w == e || w.startsWith(e + '='))) && !variables.ports.exists(e, e.startsWith('!') && (w == 'all' ||
    (e.substring(1).endsWith('*') ? w.startsWith(e.substring(1).substring(0, e.substring(1).size() - 1)) : w
    == e.substring(1) || w.startsWith(e.substring(1) + '=')) || e.startsWith('!' + w + '=')))))).map(i,
    (has(i.ports) ? i.ports.map(p, string(p.port) + '/' + (has(p.protocol) ? string(p.protocol) : 'TCP')) :
    ['all']).join(', ') + ' of ' + string(i.cidr))
- name: beyond_template_network_ingressFrom_allowIngress
  expression: >-
    (object.spec.?template.?network.?ingressFrom.orValue([]).size() > 0 ? ['peers'] : []).filter(i,
    !(variables.allowIngress)).map(i, string(i))
- name: beyond_template_network_ingressFrom_ingressNamespaces
  expression: >-
    object.spec.?template.?network.?ingressFrom.orValue([]).filter(i, !((!has(i.namespaceSelector) ? [] :
    has(i.namespaceSelector.matchLabels) && 'kubernetes.io/metadata.name' in i.namespaceSelector.matchLabels ?
    [i.namespaceSelector.matchLabels['kubernetes.io/metadata.name']] :
    has(i.namespaceSelector.matchExpressions) && i.namespaceSelector.matchExpressions.exists(x, x.key ==
    'kubernetes.io/metadata.name' && x.operator == 'In') ? i.namespaceSelector.matchExpressions.filter(x,
    x.key == 'kubernetes.io/metadata.name' && x.operator == 'In')[0].values : ['*']).all(n,
    variables.ingressNamespaces.exists(e, !e.startsWith('!') && (e.endsWith('*') ? n.startsWith(e.substring(0,
    e.size() - 1)) : n == e || n.startsWith(e + '='))) && !variables.ingressNamespaces.exists(e,
    e.startsWith('!') && (n == '*' || (e.substring(1).endsWith('*') ? n.startsWith(e.substring(1).substring(0,
    e.substring(1).size() - 1)) : n == e.substring(1) || n.startsWith(e.substring(1) + '=')) ||
    e.startsWith('!' + n + '=')))))).map(i, (!has(i.namespaceSelector) ? [] :
    has(i.namespaceSelector.matchLabels) && 'kubernetes.io/metadata.name' in i.namespaceSelector.matchLabels ?
    [i.namespaceSelector.matchLabels['kubernetes.io/metadata.name']] :
    has(i.namespaceSelector.matchExpressions) && i.namespaceSelector.matchExpressions.exists(x, x.key ==
    'kubernetes.io/metadata.name' && x.operator == 'In') ? i.namespaceSelector.matchExpressions.filter(x,
    x.key == 'kubernetes.io/metadata.name' && x.operator == 'In')[0].values : ['*']).map(n, n == '*' ? 'any
    namespace' : string(n)).join(', '))
- name: beyond_template_setup_network_egress_egress
  expression: >-
    object.spec.?template.?setup.?network.?egress.optMap(v, [string(v)]).orValue([]).filter(i, !(i in
    variables.egress)).map(i, string(i))
- name: beyond_template_setup_network_allow_cidrs
  expression: >-
    object.spec.?template.?setup.?network.?allow.orValue([]).map(v, string(v.cidr)).filter(i,
    !(variables.cidrs.exists(e, e == 'public' ? !["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8",
    "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4",
    "240.0.0.0/4", "2001::/23", "2002::/16"].exists(p, (cidr(p).prefixLength() <= cidr(i).prefixLength() &&
    cidr(p).containsIP(cidr(i).ip())) || (cidr(i).prefixLength() <= cidr(p).prefixLength() &&
    cidr(i).containsIP(cidr(p).ip()))) && (cidr(i).ip().family() == 4 || (cidr('2000::/3').prefixLength() <=
    cidr(i).prefixLength() && cidr('2000::/3').containsIP(cidr(i).ip()))) : (cidr(e).prefixLength() <=
    cidr(i).prefixLength() && cidr(e).containsIP(cidr(i).ip()))))).map(i, string(i))
- name: beyond_template_setup_network_allow_ports
  expression: >-
    object.spec.?template.?setup.?network.?allow.orValue([]).filter(i, !((has(i.ports) ? i.ports.map(p,
    string(p.port) + '/' + (has(p.protocol) ? string(p.protocol) : 'TCP')) : ['all']).all(w,
    variables.ports.exists(e, !e.startsWith('!') && (e.endsWith('*') ? w.startsWith(e.substring(0, e.size() -
    1)) : w == e || w.startsWith(e + '='))) && !variables.ports.exists(e, e.startsWith('!') && (w == 'all' ||
    (e.substring(1).endsWith('*') ? w.startsWith(e.substring(1).substring(0, e.substring(1).size() - 1)) : w
    == e.substring(1) || w.startsWith(e.substring(1) + '=')) || e.startsWith('!' + w + '=')))))).map(i,
    (has(i.ports) ? i.ports.map(p, string(p.port) + '/' + (has(p.protocol) ? string(p.protocol) : 'TCP')) :
    ['all']).join(', ') + ' of ' + string(i.cidr))
- name: beyond_template_setup_network_ingressFrom_allowIngress
  expression: >-
    (object.spec.?template.?setup.?network.?ingressFrom.orValue([]).size() > 0 ? ['peers'] : []).filter(i,
    !(variables.allowIngress)).map(i, string(i))
- name: beyond_template_setup_network_ingressFrom_ingressNamespaces
  expression: >-
    object.spec.?template.?setup.?network.?ingressFrom.orValue([]).filter(i, !((!has(i.namespaceSelector) ? []
    : has(i.namespaceSelector.matchLabels) && 'kubernetes.io/metadata.name' in i.namespaceSelector.matchLabels
    ? [i.namespaceSelector.matchLabels['kubernetes.io/metadata.name']] :
    has(i.namespaceSelector.matchExpressions) && i.namespaceSelector.matchExpressions.exists(x, x.key ==
    'kubernetes.io/metadata.name' && x.operator == 'In') ? i.namespaceSelector.matchExpressions.filter(x,
    x.key == 'kubernetes.io/metadata.name' && x.operator == 'In')[0].values : ['*']).all(n,
    variables.ingressNamespaces.exists(e, !e.startsWith('!') && (e.endsWith('*') ? n.startsWith(e.substring(0,
    e.size() - 1)) : n == e || n.startsWith(e + '='))) && !variables.ingressNamespaces.exists(e,
    e.startsWith('!') && (n == '*' || (e.substring(1).endsWith('*') ? n.startsWith(e.substring(1).substring(0,
    e.substring(1).size() - 1)) : n == e.substring(1) || n.startsWith(e.substring(1) + '=')) ||
    e.startsWith('!' + n + '=')))))).map(i, (!has(i.namespaceSelector) ? [] :
    has(i.namespaceSelector.matchLabels) && 'kubernetes.io/metadata.name' in i.namespaceSelector.matchLabels ?
    [i.namespaceSelector.matchLabels['kubernetes.io/metadata.name']] :
    has(i.namespaceSelector.matchExpressions) && i.namespaceSelector.matchExpressions.exists(x, x.key ==
    'kubernetes.io/metadata.name' && x.operator == 'In') ? i.namespaceSelector.matchExpressions.filter(x,
    x.key == 'kubernetes.io/metadata.name' && x.operator == 'In')[0].values : ['*']).map(n, n == '*' ? 'any
    namespace' : string(n)).join(', '))
- name: beyond_template_dns_nameservers_nameservers
  expression: >-
    object.spec.?template.?dns.?nameservers.orValue([]).map(v, string(v) + (ip(v).family() == 4 ? '/32' :
    '/128')).filter(i, !(variables.nameservers.exists(e, e == 'public' ? !["0.0.0.0/8", "10.0.0.0/8",
    "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16",
    "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4", "2001::/23", "2002::/16"].exists(p, (cidr(p).prefixLength()
    <= cidr(i).prefixLength() && cidr(p).containsIP(cidr(i).ip())) || (cidr(i).prefixLength() <=
    cidr(p).prefixLength() && cidr(i).containsIP(cidr(p).ip()))) && (cidr(i).ip().family() == 4 ||
    (cidr('2000::/3').prefixLength() <= cidr(i).prefixLength() && cidr('2000::/3').containsIP(cidr(i).ip())))
    : (cidr(e).prefixLength() <= cidr(i).prefixLength() && cidr(e).containsIP(cidr(i).ip()))))).map(i,
    string(i))
- name: beyond_template_resources_cpu_maxCpu
  expression: >-
    object.spec.?template.?resources.?cpu.optMap(v, [string(v)]).orValue([]).filter(i,
    !(quantity(i).compareTo(quantity(string(variables.maxCpu))) <= 0)).map(i, string(i))
- name: beyond_template_resources_memory_maxMemory
  expression: >-
    object.spec.?template.?resources.?memory.optMap(v, [string(v)]).orValue([]).filter(i,
    !(quantity(i).compareTo(quantity(string(variables.maxMemory))) <= 0)).map(i, string(i))
- name: beyond_template_resources_ephemeralStorage_maxEphemeralStorage
  expression: >-
    object.spec.?template.?resources.?ephemeralStorage.optMap(v, [string(v)]).orValue([]).filter(i,
    !(quantity(i).compareTo(quantity(string(variables.maxEphemeralStorage))) <= 0)).map(i, string(i))
- name: beyond_template_workspace_sizeLimit_maxWorkspace
  expression: >-
    object.spec.?template.?workspace.?sizeLimit.optMap(v, [string(v)]).orValue([]).filter(i,
    !(quantity(i).compareTo(quantity(string(variables.maxWorkspace))) <= 0)).map(i, string(i))
- name: beyond_template_tmp_sizeLimit_maxTmp
  expression: >-
    object.spec.?template.?tmp.?sizeLimit.optMap(v, [string(v)]).orValue([]).filter(i,
    !(quantity(i).compareTo(quantity(string(variables.maxTmp))) <= 0)).map(i, string(i))
- name: beyond_template_workspace_persistent_size_maxPersistent
  expression: >-
    object.spec.?template.?workspace.?persistent.?size.optMap(v, [string(v)]).orValue([]).filter(i,
    !(quantity(i).compareTo(quantity(string(variables.maxPersistent))) <= 0)).map(i, string(i))
- name: beyond_template_resources_requests_cpu_minCpuRequestPercent
  expression: >-
    object.spec.?template.?resources.optMap(v, [v]).orValue([]).filter(i, !((has(i.requests) &&
    has(i.requests.cpu) ? quantity(string(i.requests.cpu)).asApproximateFloat() :
    quantity(string(i.cpu)).asApproximateFloat() * 0.1) * 100.0000001 >=
    quantity(string(i.cpu)).asApproximateFloat() * double(variables.minCpuRequestPercent))).map(i,
    (has(i.requests) && has(i.requests.cpu) ? string(i.requests.cpu) : 'no request') + ' of ' + string(i.cpu))
- name: beyond_template_resources_requests_memory_minMemoryRequestPercent
  expression: >-
    object.spec.?template.?resources.optMap(v, [v]).orValue([]).filter(i, !((has(i.requests) &&
    has(i.requests.memory) ? quantity(string(i.requests.memory)).asApproximateFloat() :
    quantity(string(i.memory)).asApproximateFloat() * 1.0) * 100.0000001 >=
    quantity(string(i.memory)).asApproximateFloat() * double(variables.minMemoryRequestPercent))).map(i,
    (has(i.requests) && has(i.requests.memory) ? string(i.requests.memory) : 'no request') + ' of ' +
    string(i.memory))
- name: beyond_template_workspace_persistent_storageClassName_storageClasses
  expression: >-
    object.spec.?template.?workspace.?persistent.optMap(v, [has(v.storageClassName) ?
    string(v.storageClassName) : '_default']).orValue([]).filter(i, !(variables.storageClasses.exists(e,
    !e.startsWith('!') && (e.endsWith('*') ? i.startsWith(e.substring(0, e.size() - 1)) : i == e ||
    i.startsWith(e + '='))) && !variables.storageClasses.exists(e, e.startsWith('!') &&
    ((e.substring(1).endsWith('*') ? i.startsWith(e.substring(1).substring(0, e.substring(1).size() - 1)) : i
    == e.substring(1) || i.startsWith(e.substring(1) + '=')) || e.startsWith('!' + i + '='))))).map(i,
    string(i))
- name: beyond_template_nodeSelector_nodeSelector
  expression: >-
    object.spec.?template.?nodeSelector.optMap(m, m.map(v, string(v) + '=' +
    string(m[v]))).orValue([]).filter(i, !(variables.nodeSelector.exists(e, !e.startsWith('!') &&
    (e.endsWith('*') ? i.startsWith(e.substring(0, e.size() - 1)) : i == e || i.startsWith(e + '='))) &&
    !variables.nodeSelector.exists(e, e.startsWith('!') && ((e.substring(1).endsWith('*') ?
    i.startsWith(e.substring(1).substring(0, e.substring(1).size() - 1)) : i == e.substring(1) ||
    i.startsWith(e.substring(1) + '=')) || e.startsWith('!' + i + '='))))).map(i, string(i))
- name: beyond_template_tolerations_tolerations
  expression: >-
    object.spec.?template.?tolerations.orValue([]).map(v, has(v.operator) && v.operator == 'Exists' ?
    string(v.key) : string(v.key) + '=' + (has(v.value) ? string(v.value) : '')).filter(i,
    !(variables.tolerations.exists(e, !e.startsWith('!') && (e.endsWith('*') ? i.startsWith(e.substring(0,
    e.size() - 1)) : i == e || i.startsWith(e + '='))) && !variables.tolerations.exists(e, e.startsWith('!')
    && ((e.substring(1).endsWith('*') ? i.startsWith(e.substring(1).substring(0, e.substring(1).size() - 1)) :
    i == e.substring(1) || i.startsWith(e.substring(1) + '=')) || e.startsWith('!' + i + '='))))).map(i,
    string(i))
- name: beyond_template_priorityClassName_priorityClasses
  expression: >-
    object.spec.?template.?priorityClassName.optMap(v, [string(v)]).orValue([]).filter(i,
    !(variables.priorityClasses.exists(e, !e.startsWith('!') && (e.endsWith('*') ? i.startsWith(e.substring(0,
    e.size() - 1)) : i == e || i.startsWith(e + '='))) && !variables.priorityClasses.exists(e,
    e.startsWith('!') && ((e.substring(1).endsWith('*') ? i.startsWith(e.substring(1).substring(0,
    e.substring(1).size() - 1)) : i == e.substring(1) || i.startsWith(e.substring(1) + '=')) ||
    e.startsWith('!' + i + '='))))).map(i, string(i))
- name: beyond_template_imagePullSecrets_imagePullSecrets
  expression: >-
    object.spec.?template.?imagePullSecrets.orValue([]).map(v, string(v.name)).filter(i,
    !(variables.imagePullSecrets.exists(e, !e.startsWith('!') && (e.endsWith('*') ?
    i.startsWith(e.substring(0, e.size() - 1)) : i == e || i.startsWith(e + '='))) &&
    !variables.imagePullSecrets.exists(e, e.startsWith('!') && ((e.substring(1).endsWith('*') ?
    i.startsWith(e.substring(1).substring(0, e.substring(1).size() - 1)) : i == e.substring(1) ||
    i.startsWith(e.substring(1) + '=')) || e.startsWith('!' + i + '='))))).map(i, string(i))
- name: beyond_network_egress_egress
  expression: >-
    object.spec.?network.?egress.optMap(v, [string(v)]).orValue([]).filter(i, !(i in variables.egress)).map(i,
    string(i))
- name: beyond_network_allow_cidrs
  expression: >-
    object.spec.?network.?allow.orValue([]).map(v, string(v.cidr)).filter(i, !(variables.cidrs.exists(e, e ==
    'public' ? !["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4", "2001::/23",
    "2002::/16"].exists(p, (cidr(p).prefixLength() <= cidr(i).prefixLength() &&
    cidr(p).containsIP(cidr(i).ip())) || (cidr(i).prefixLength() <= cidr(p).prefixLength() &&
    cidr(i).containsIP(cidr(p).ip()))) && (cidr(i).ip().family() == 4 || (cidr('2000::/3').prefixLength() <=
    cidr(i).prefixLength() && cidr('2000::/3').containsIP(cidr(i).ip()))) : (cidr(e).prefixLength() <=
    cidr(i).prefixLength() && cidr(e).containsIP(cidr(i).ip()))))).map(i, string(i))
- name: beyond_network_allow_ports
  expression: >-
    object.spec.?network.?allow.orValue([]).filter(i, !((has(i.ports) ? i.ports.map(p, string(p.port) + '/' +
    (has(p.protocol) ? string(p.protocol) : 'TCP')) : ['all']).all(w, variables.ports.exists(e,
    !e.startsWith('!') && (e.endsWith('*') ? w.startsWith(e.substring(0, e.size() - 1)) : w == e ||
    w.startsWith(e + '='))) && !variables.ports.exists(e, e.startsWith('!') && (w == 'all' ||
    (e.substring(1).endsWith('*') ? w.startsWith(e.substring(1).substring(0, e.substring(1).size() - 1)) : w
    == e.substring(1) || w.startsWith(e.substring(1) + '=')) || e.startsWith('!' + w + '=')))))).map(i,
    (has(i.ports) ? i.ports.map(p, string(p.port) + '/' + (has(p.protocol) ? string(p.protocol) : 'TCP')) :
    ['all']).join(', ') + ' of ' + string(i.cidr))
- name: beyond_network_ingressFrom_allowIngress
  expression: >-
    (object.spec.?network.?ingressFrom.orValue([]).size() > 0 ? ['peers'] : []).filter(i,
    !(variables.allowIngress)).map(i, string(i))
- name: beyond_network_ingressFrom_ingressNamespaces
  expression: >-
    object.spec.?network.?ingressFrom.orValue([]).filter(i, !((!has(i.namespaceSelector) ? [] :
    has(i.namespaceSelector.matchLabels) && 'kubernetes.io/metadata.name' in i.namespaceSelector.matchLabels ?
    [i.namespaceSelector.matchLabels['kubernetes.io/metadata.name']] :
    has(i.namespaceSelector.matchExpressions) && i.namespaceSelector.matchExpressions.exists(x, x.key ==
    'kubernetes.io/metadata.name' && x.operator == 'In') ? i.namespaceSelector.matchExpressions.filter(x,
    x.key == 'kubernetes.io/metadata.name' && x.operator == 'In')[0].values : ['*']).all(n,
    variables.ingressNamespaces.exists(e, !e.startsWith('!') && (e.endsWith('*') ? n.startsWith(e.substring(0,
    e.size() - 1)) : n == e || n.startsWith(e + '='))) && !variables.ingressNamespaces.exists(e,
    e.startsWith('!') && (n == '*' || (e.substring(1).endsWith('*') ? n.startsWith(e.substring(1).substring(0,
    e.substring(1).size() - 1)) : n == e.substring(1) || n.startsWith(e.substring(1) + '=')) ||
    e.startsWith('!' + n + '=')))))).map(i, (!has(i.namespaceSelector) ? [] :
    has(i.namespaceSelector.matchLabels) && 'kubernetes.io/metadata.name' in i.namespaceSelector.matchLabels ?
    [i.namespaceSelector.matchLabels['kubernetes.io/metadata.name']] :
    has(i.namespaceSelector.matchExpressions) && i.namespaceSelector.matchExpressions.exists(x, x.key ==
    'kubernetes.io/metadata.name' && x.operator == 'In') ? i.namespaceSelector.matchExpressions.filter(x,
    x.key == 'kubernetes.io/metadata.name' && x.operator == 'In')[0].values : ['*']).map(n, n == '*' ? 'any
    namespace' : string(n)).join(', '))
- name: beyond_allowedEgress_egress
  expression: >-
    object.spec.?allowedEgress.orValue([]).filter(i, !(i in variables.egress)).map(i, string(i))
- name: beyond_lifetime_seconds_maxLifetimeSeconds
  expression: >-
    object.spec.?lifetime.?seconds.optMap(v, [v]).orValue([]).filter(i, !((variables.maxLifetimeSeconds == 0
    || i <= variables.maxLifetimeSeconds))).map(i, string(i))
- name: beyond_claimDefaults_lifetime_seconds_maxLifetimeSeconds
  expression: >-
    object.spec.?claimDefaults.?lifetime.?seconds.optMap(v, [v]).orValue([]).filter(i,
    !((variables.maxLifetimeSeconds == 0 || i <= variables.maxLifetimeSeconds))).map(i, string(i))
- name: beyond_maxLifetimeSeconds_maxLifetimeSeconds
  expression: >-
    object.spec.?maxLifetimeSeconds.optMap(v, [v]).orValue([]).filter(i, !((variables.maxLifetimeSeconds == 0
    || i <= variables.maxLifetimeSeconds))).map(i, string(i))
- name: beyond_template_setup_timeoutSeconds_maxLifetimeSeconds
  expression: >-
    object.spec.?template.?setup.?timeoutSeconds.optMap(v, [v]).orValue([]).filter(i,
    !((variables.maxLifetimeSeconds == 0 || i <= variables.maxLifetimeSeconds))).map(i, string(i))
- name: beyond_template_terminationGracePeriodSeconds_maxGraceSeconds
  expression: >-
    object.spec.?template.?terminationGracePeriodSeconds.optMap(v, [v]).orValue([]).filter(i,
    !((variables.maxGraceSeconds == 0 || i <= variables.maxGraceSeconds))).map(i, string(i))
- name: beyond_replicas_maxSandboxes
  expression: >-
    object.spec.?replicas.optMap(v, [v]).orValue([]).filter(i, !((variables.maxSandboxes == 0 || i <=
    variables.maxSandboxes))).map(i, string(i))
- name: beyond_maxSandboxes_maxSandboxes
  expression: >-
    object.spec.?maxSandboxes.optMap(v, [v]).orValue([]).filter(i, !((variables.maxSandboxes == 0 || i <=
    variables.maxSandboxes))).map(i, string(i))
- name: beyond_schedule_maxSandboxes
  expression: >-
    object.spec.?schedule.orValue([]).map(v, v.replicas).filter(i, !((variables.maxSandboxes == 0 || i <=
    variables.maxSandboxes))).map(i, string(i))
- name: beyond_autoscale_maxReplicas_maxSandboxes
  expression: >-
    object.spec.?autoscale.?maxReplicas.optMap(v, [v]).orValue([]).filter(i, !((variables.maxSandboxes == 0 ||
    i <= variables.maxSandboxes))).map(i, string(i))
{{- end }}
{{- define "sandyard.boundRules" -}}
- expression: >-
    variables.templateSettled || variables.beyond_template_user_uid_allowRoot.size() == 0
  message: "spec.template.user.uid is beyond policy.allowRoot of the chart"
  messageExpression: >-
    'spec.template.user.uid: ' + variables.beyond_template_user_uid_allowRoot.join(', ') + ' is beyond
    policy.allowRoot of the chart (' + string(variables.allowRoot) + ')'
- expression: >-
    variables.templateSettled || variables.beyond_template_image_images.size() == 0
  message: "spec.template.image is beyond policy.images of the chart"
  messageExpression: >-
    'spec.template.image: ' + variables.beyond_template_image_images.join(', ') + ' is beyond policy.images of
    the chart (' + (variables.images.size() == 0 ? 'nothing' : variables.images.join(', ')) + ')'
- expression: >-
    variables.templateSettled || variables.beyond_template_runtimeClassName_runtimeClasses.size() == 0
  message: "spec.template.runtimeClassName is beyond policy.runtimeClasses of the chart"
  messageExpression: >-
    'spec.template.runtimeClassName: ' + variables.beyond_template_runtimeClassName_runtimeClasses.join(', ')
    + ' is beyond policy.runtimeClasses of the chart (' + (variables.runtimeClasses.size() == 0 ? 'nothing' :
    variables.runtimeClasses.join(', ')) + ')'
- expression: >-
    variables.templateSettled || variables.beyond_template_labels_labels.size() == 0
  message: "spec.template.labels is beyond policy.labels of the chart"
  messageExpression: >-
    'spec.template.labels: ' + variables.beyond_template_labels_labels.join(', ') + ' is beyond policy.labels
    of the chart (' + (variables.labels.size() == 0 ? 'nothing' : variables.labels.join(', ')) + ')'
- expression: >-
    variables.templateSettled || variables.beyond_template_annotations_annotations.size() == 0
  message: "spec.template.annotations is beyond policy.annotations of the chart"
  messageExpression: >-
    'spec.template.annotations: ' + variables.beyond_template_annotations_annotations.join(', ') + ' is beyond
    policy.annotations of the chart (' + (variables.annotations.size() == 0 ? 'nothing' :
    variables.annotations.join(', ')) + ')'
- expression: >-
    variables.templateSettled || variables.beyond_template_network_egress_egress.size() == 0
  message: "spec.template.network.egress is beyond policy.egress of the chart"
  messageExpression: >-
    'spec.template.network.egress: ' + variables.beyond_template_network_egress_egress.join(', ') + ' is
    beyond policy.egress of the chart (' + (variables.egress.size() == 0 ? 'nothing' :
    variables.egress.join(', ')) + ')'
- expression: >-
    variables.templateSettled || variables.beyond_template_network_allow_cidrs.size() == 0
  message: "spec.template.network.allow is beyond policy.cidrs of the chart"
  messageExpression: >-
    'spec.template.network.allow: ' + variables.beyond_template_network_allow_cidrs.join(', ') + ' is beyond
    policy.cidrs of the chart (' + (variables.cidrs.size() == 0 ? 'nothing' : variables.cidrs.join(', ')) +
    ')'
- expression: >-
    variables.templateSettled || variables.beyond_template_network_allow_ports.size() == 0
  message: "spec.template.network.allow is beyond policy.ports of the chart"
  messageExpression: >-
    'spec.template.network.allow: ' + variables.beyond_template_network_allow_ports.join(', ') + ' is beyond
    policy.ports of the chart (' + (variables.ports.size() == 0 ? 'nothing' : variables.ports.join(', ')) +
    ')'
- expression: >-
    variables.templateSettled || variables.beyond_template_network_ingressFrom_allowIngress.size() == 0
  message: "spec.template.network.ingressFrom is beyond policy.allowIngress of the chart"
  messageExpression: >-
    'spec.template.network.ingressFrom: ' + variables.beyond_template_network_ingressFrom_allowIngress.join(',
    ') + ' is beyond policy.allowIngress of the chart (' + string(variables.allowIngress) + ')'
- expression: >-
    variables.templateSettled || variables.beyond_template_network_ingressFrom_ingressNamespaces.size() == 0
  message: "spec.template.network.ingressFrom is beyond policy.ingressNamespaces of the chart"
  messageExpression: >-
    'spec.template.network.ingressFrom: ' +
    variables.beyond_template_network_ingressFrom_ingressNamespaces.join(', ') + ' is beyond
    policy.ingressNamespaces of the chart (' + (variables.ingressNamespaces.size() == 0 ? 'nothing' :
    variables.ingressNamespaces.join(', ')) + ')'
- expression: >-
    variables.templateSettled || variables.beyond_template_setup_network_egress_egress.size() == 0
  message: "spec.template.setup.network.egress is beyond policy.egress of the chart"
  messageExpression: >-
    'spec.template.setup.network.egress: ' + variables.beyond_template_setup_network_egress_egress.join(', ')
    + ' is beyond policy.egress of the chart (' + (variables.egress.size() == 0 ? 'nothing' :
    variables.egress.join(', ')) + ')'
- expression: >-
    variables.templateSettled || variables.beyond_template_setup_network_allow_cidrs.size() == 0
  message: "spec.template.setup.network.allow is beyond policy.cidrs of the chart"
  messageExpression: >-
    'spec.template.setup.network.allow: ' + variables.beyond_template_setup_network_allow_cidrs.join(', ') + '
    is beyond policy.cidrs of the chart (' + (variables.cidrs.size() == 0 ? 'nothing' :
    variables.cidrs.join(', ')) + ')'
- expression: >-
    variables.templateSettled || variables.beyond_template_setup_network_allow_ports.size() == 0
  message: "spec.template.setup.network.allow is beyond policy.ports of the chart"
  messageExpression: >-
    'spec.template.setup.network.allow: ' + variables.beyond_template_setup_network_allow_ports.join(', ') + '
    is beyond policy.ports of the chart (' + (variables.ports.size() == 0 ? 'nothing' :
    variables.ports.join(', ')) + ')'
- expression: >-
    variables.templateSettled || variables.beyond_template_setup_network_ingressFrom_allowIngress.size() == 0
  message: "spec.template.setup.network.ingressFrom is beyond policy.allowIngress of the chart"
  messageExpression: >-
    'spec.template.setup.network.ingressFrom: ' +
    variables.beyond_template_setup_network_ingressFrom_allowIngress.join(', ') + ' is beyond
    policy.allowIngress of the chart (' + string(variables.allowIngress) + ')'
- expression: >-
    variables.templateSettled || variables.beyond_template_setup_network_ingressFrom_ingressNamespaces.size()
    == 0
  message: "spec.template.setup.network.ingressFrom is beyond policy.ingressNamespaces of the chart"
  messageExpression: >-
    'spec.template.setup.network.ingressFrom: ' +
    variables.beyond_template_setup_network_ingressFrom_ingressNamespaces.join(', ') + ' is beyond
    policy.ingressNamespaces of the chart (' + (variables.ingressNamespaces.size() == 0 ? 'nothing' :
    variables.ingressNamespaces.join(', ')) + ')'
- expression: >-
    variables.templateSettled || variables.beyond_template_dns_nameservers_nameservers.size() == 0
  message: "spec.template.dns.nameservers is beyond policy.nameservers of the chart"
  messageExpression: >-
    'spec.template.dns.nameservers: ' + variables.beyond_template_dns_nameservers_nameservers.join(', ') + '
    is beyond policy.nameservers of the chart (' + (variables.nameservers.size() == 0 ? 'nothing' :
    variables.nameservers.join(', ')) + ')'
- expression: >-
    variables.templateSettled || variables.beyond_template_resources_cpu_maxCpu.size() == 0
  message: "spec.template.resources.cpu is beyond policy.maxCpu of the chart"
  messageExpression: >-
    'spec.template.resources.cpu: ' + variables.beyond_template_resources_cpu_maxCpu.join(', ') + ' is beyond
    policy.maxCpu of the chart (' + string(variables.maxCpu) + ')'
- expression: >-
    variables.templateSettled || variables.beyond_template_resources_memory_maxMemory.size() == 0
  message: "spec.template.resources.memory is beyond policy.maxMemory of the chart"
  messageExpression: >-
    'spec.template.resources.memory: ' + variables.beyond_template_resources_memory_maxMemory.join(', ') + '
    is beyond policy.maxMemory of the chart (' + string(variables.maxMemory) + ')'
- expression: >-
    variables.templateSettled ||
    variables.beyond_template_resources_ephemeralStorage_maxEphemeralStorage.size() == 0
  message: "spec.template.resources.ephemeralStorage is beyond policy.maxEphemeralStorage of the chart"
  messageExpression: >-
    'spec.template.resources.ephemeralStorage: ' +
    variables.beyond_template_resources_ephemeralStorage_maxEphemeralStorage.join(', ') + ' is beyond
    policy.maxEphemeralStorage of the chart (' + string(variables.maxEphemeralStorage) + ')'
- expression: >-
    variables.templateSettled || variables.beyond_template_workspace_sizeLimit_maxWorkspace.size() == 0
  message: "spec.template.workspace.sizeLimit is beyond policy.maxWorkspace of the chart"
  messageExpression: >-
    'spec.template.workspace.sizeLimit: ' + variables.beyond_template_workspace_sizeLimit_maxWorkspace.join(',
    ') + ' is beyond policy.maxWorkspace of the chart (' + string(variables.maxWorkspace) + ')'
- expression: >-
    variables.templateSettled || variables.beyond_template_tmp_sizeLimit_maxTmp.size() == 0
  message: "spec.template.tmp.sizeLimit is beyond policy.maxTmp of the chart"
  messageExpression: >-
    'spec.template.tmp.sizeLimit: ' + variables.beyond_template_tmp_sizeLimit_maxTmp.join(', ') + ' is beyond
    policy.maxTmp of the chart (' + string(variables.maxTmp) + ')'
- expression: >-
    variables.templateSettled || variables.beyond_template_workspace_persistent_size_maxPersistent.size() == 0
  message: "spec.template.workspace.persistent.size is beyond policy.maxPersistent of the chart"
  messageExpression: >-
    'spec.template.workspace.persistent.size: ' +
    variables.beyond_template_workspace_persistent_size_maxPersistent.join(', ') + ' is beyond
    policy.maxPersistent of the chart (' + string(variables.maxPersistent) + ')'
- expression: >-
    variables.templateSettled || variables.beyond_template_resources_requests_cpu_minCpuRequestPercent.size()
    == 0
  message: "spec.template.resources.requests.cpu is beyond policy.minCpuRequestPercent of the chart"
  messageExpression: >-
    'spec.template.resources.requests.cpu: ' +
    variables.beyond_template_resources_requests_cpu_minCpuRequestPercent.join(', ') + ' is beyond
    policy.minCpuRequestPercent of the chart (' + string(variables.minCpuRequestPercent) + ')'
- expression: >-
    variables.templateSettled ||
    variables.beyond_template_resources_requests_memory_minMemoryRequestPercent.size() == 0
  message: "spec.template.resources.requests.memory is beyond policy.minMemoryRequestPercent of the chart"
  messageExpression: >-
    'spec.template.resources.requests.memory: ' +
    variables.beyond_template_resources_requests_memory_minMemoryRequestPercent.join(', ') + ' is beyond
    policy.minMemoryRequestPercent of the chart (' + string(variables.minMemoryRequestPercent) + ')'
- expression: >-
    variables.templateSettled ||
    variables.beyond_template_workspace_persistent_storageClassName_storageClasses.size() == 0
  message: "spec.template.workspace.persistent.storageClassName is beyond policy.storageClasses of the chart"
  messageExpression: >-
    'spec.template.workspace.persistent.storageClassName: ' +
    variables.beyond_template_workspace_persistent_storageClassName_storageClasses.join(', ') + ' is beyond
    policy.storageClasses of the chart (' + (variables.storageClasses.size() == 0 ? 'nothing' :
    variables.storageClasses.join(', ')) + ')'
- expression: >-
    variables.templateSettled || variables.beyond_template_nodeSelector_nodeSelector.size() == 0
  message: "spec.template.nodeSelector is beyond policy.nodeSelector of the chart"
  messageExpression: >-
    'spec.template.nodeSelector: ' + variables.beyond_template_nodeSelector_nodeSelector.join(', ') + ' is
    beyond policy.nodeSelector of the chart (' + (variables.nodeSelector.size() == 0 ? 'nothing' :
    variables.nodeSelector.join(', ')) + ')'
- expression: >-
    variables.templateSettled || variables.beyond_template_tolerations_tolerations.size() == 0
  message: "spec.template.tolerations is beyond policy.tolerations of the chart"
  messageExpression: >-
    'spec.template.tolerations: ' + variables.beyond_template_tolerations_tolerations.join(', ') + ' is beyond
    policy.tolerations of the chart (' + (variables.tolerations.size() == 0 ? 'nothing' :
    variables.tolerations.join(', ')) + ')'
- expression: >-
    variables.templateSettled || variables.beyond_template_priorityClassName_priorityClasses.size() == 0
  message: "spec.template.priorityClassName is beyond policy.priorityClasses of the chart"
  messageExpression: >-
    'spec.template.priorityClassName: ' + variables.beyond_template_priorityClassName_priorityClasses.join(',
    ') + ' is beyond policy.priorityClasses of the chart (' + (variables.priorityClasses.size() == 0 ?
    'nothing' : variables.priorityClasses.join(', ')) + ')'
- expression: >-
    variables.templateSettled || variables.beyond_template_imagePullSecrets_imagePullSecrets.size() == 0
  message: "spec.template.imagePullSecrets is beyond policy.imagePullSecrets of the chart"
  messageExpression: >-
    'spec.template.imagePullSecrets: ' + variables.beyond_template_imagePullSecrets_imagePullSecrets.join(',
    ') + ' is beyond policy.imagePullSecrets of the chart (' + (variables.imagePullSecrets.size() == 0 ?
    'nothing' : variables.imagePullSecrets.join(', ')) + ')'
- expression: >-
    variables.networkSettled || variables.beyond_network_egress_egress.size() == 0
  message: "spec.network.egress is beyond policy.egress of the chart"
  messageExpression: >-
    'spec.network.egress: ' + variables.beyond_network_egress_egress.join(', ') + ' is beyond policy.egress of
    the chart (' + (variables.egress.size() == 0 ? 'nothing' : variables.egress.join(', ')) + ')'
- expression: >-
    variables.networkSettled || variables.beyond_network_allow_cidrs.size() == 0
  message: "spec.network.allow is beyond policy.cidrs of the chart"
  messageExpression: >-
    'spec.network.allow: ' + variables.beyond_network_allow_cidrs.join(', ') + ' is beyond policy.cidrs of the
    chart (' + (variables.cidrs.size() == 0 ? 'nothing' : variables.cidrs.join(', ')) + ')'
- expression: >-
    variables.networkSettled || variables.beyond_network_allow_ports.size() == 0
  message: "spec.network.allow is beyond policy.ports of the chart"
  messageExpression: >-
    'spec.network.allow: ' + variables.beyond_network_allow_ports.join(', ') + ' is beyond policy.ports of the
    chart (' + (variables.ports.size() == 0 ? 'nothing' : variables.ports.join(', ')) + ')'
- expression: >-
    variables.networkSettled || variables.beyond_network_ingressFrom_allowIngress.size() == 0
  message: "spec.network.ingressFrom is beyond policy.allowIngress of the chart"
  messageExpression: >-
    'spec.network.ingressFrom: ' + variables.beyond_network_ingressFrom_allowIngress.join(', ') + ' is beyond
    policy.allowIngress of the chart (' + string(variables.allowIngress) + ')'
- expression: >-
    variables.networkSettled || variables.beyond_network_ingressFrom_ingressNamespaces.size() == 0
  message: "spec.network.ingressFrom is beyond policy.ingressNamespaces of the chart"
  messageExpression: >-
    'spec.network.ingressFrom: ' + variables.beyond_network_ingressFrom_ingressNamespaces.join(', ') + ' is
    beyond policy.ingressNamespaces of the chart (' + (variables.ingressNamespaces.size() == 0 ? 'nothing' :
    variables.ingressNamespaces.join(', ')) + ')'
- expression: >-
    variables.settled || variables.beyond_allowedEgress_egress.size() == 0
  message: "spec.allowedEgress is beyond policy.egress of the chart"
  messageExpression: >-
    'spec.allowedEgress: ' + variables.beyond_allowedEgress_egress.join(', ') + ' is beyond policy.egress of
    the chart (' + (variables.egress.size() == 0 ? 'nothing' : variables.egress.join(', ')) + ')'
- expression: >-
    variables.settled || variables.beyond_lifetime_seconds_maxLifetimeSeconds.size() == 0
  message: "spec.lifetime.seconds is beyond policy.maxLifetimeSeconds of the chart"
  messageExpression: >-
    'spec.lifetime.seconds: ' + variables.beyond_lifetime_seconds_maxLifetimeSeconds.join(', ') + ' is beyond
    policy.maxLifetimeSeconds of the chart (' + string(variables.maxLifetimeSeconds) + ')'
- expression: >-
    variables.settled || variables.beyond_claimDefaults_lifetime_seconds_maxLifetimeSeconds.size() == 0
  message: "spec.claimDefaults.lifetime.seconds is beyond policy.maxLifetimeSeconds of the chart"
  messageExpression: >-
    'spec.claimDefaults.lifetime.seconds: ' +
    variables.beyond_claimDefaults_lifetime_seconds_maxLifetimeSeconds.join(', ') + ' is beyond
    policy.maxLifetimeSeconds of the chart (' + string(variables.maxLifetimeSeconds) + ')'
- expression: >-
    variables.settled || variables.beyond_maxLifetimeSeconds_maxLifetimeSeconds.size() == 0
  message: "spec.maxLifetimeSeconds is beyond policy.maxLifetimeSeconds of the chart"
  messageExpression: >-
    'spec.maxLifetimeSeconds: ' + variables.beyond_maxLifetimeSeconds_maxLifetimeSeconds.join(', ') + ' is
    beyond policy.maxLifetimeSeconds of the chart (' + string(variables.maxLifetimeSeconds) + ')'
- expression: >-
    variables.templateSettled || variables.beyond_template_setup_timeoutSeconds_maxLifetimeSeconds.size() == 0
  message: "spec.template.setup.timeoutSeconds is beyond policy.maxLifetimeSeconds of the chart"
  messageExpression: >-
    'spec.template.setup.timeoutSeconds: ' +
    variables.beyond_template_setup_timeoutSeconds_maxLifetimeSeconds.join(', ') + ' is beyond
    policy.maxLifetimeSeconds of the chart (' + string(variables.maxLifetimeSeconds) + ')'
- expression: >-
    variables.templateSettled ||
    variables.beyond_template_terminationGracePeriodSeconds_maxGraceSeconds.size() == 0
  message: "spec.template.terminationGracePeriodSeconds is beyond policy.maxGraceSeconds of the chart"
  messageExpression: >-
    'spec.template.terminationGracePeriodSeconds: ' +
    variables.beyond_template_terminationGracePeriodSeconds_maxGraceSeconds.join(', ') + ' is beyond
    policy.maxGraceSeconds of the chart (' + string(variables.maxGraceSeconds) + ')'
- expression: >-
    variables.settled || variables.beyond_replicas_maxSandboxes.size() == 0
  message: "spec.replicas is beyond policy.maxSandboxes of the chart"
  messageExpression: >-
    'spec.replicas: ' + variables.beyond_replicas_maxSandboxes.join(', ') + ' is beyond policy.maxSandboxes of
    the chart (' + string(variables.maxSandboxes) + ')'
- expression: >-
    variables.settled || variables.beyond_maxSandboxes_maxSandboxes.size() == 0
  message: "spec.maxSandboxes is beyond policy.maxSandboxes of the chart"
  messageExpression: >-
    'spec.maxSandboxes: ' + variables.beyond_maxSandboxes_maxSandboxes.join(', ') + ' is beyond
    policy.maxSandboxes of the chart (' + string(variables.maxSandboxes) + ')'
- expression: >-
    variables.settled || variables.beyond_schedule_maxSandboxes.size() == 0
  message: "spec.schedule is beyond policy.maxSandboxes of the chart"
  messageExpression: >-
    'spec.schedule: ' + variables.beyond_schedule_maxSandboxes.join(', ') + ' is beyond policy.maxSandboxes of
    the chart (' + string(variables.maxSandboxes) + ')'
- expression: >-
    variables.settled || variables.beyond_autoscale_maxReplicas_maxSandboxes.size() == 0
  message: "spec.autoscale.maxReplicas is beyond policy.maxSandboxes of the chart"
  messageExpression: >-
    'spec.autoscale.maxReplicas: ' + variables.beyond_autoscale_maxReplicas_maxSandboxes.join(', ') + ' is
    beyond policy.maxSandboxes of the chart (' + string(variables.maxSandboxes) + ')'
{{- end }}

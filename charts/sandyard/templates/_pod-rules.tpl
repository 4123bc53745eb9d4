{{- /* Generated from operator/sandyard/podspec/shape.py by hack/generate. Do not edit. */ -}}
{{- define "sandyard.podRules" -}}
- expression: >-
    !variables.operator || (variables.newLabels.all(a, a in ["app.kubernetes.io/managed-by",
    "sandyard.dev/state", "sandyard.dev/egress", "sandyard.dev/allow", "sandyard.dev/ingress",
    "sandyard.dev/template-hash", "sandyard.dev/pool-uid", "sandyard.dev/sandbox-uid"] ||
    (variables.labels).exists(b, a.startsWith(b))))
  message: "a sandbox's pod has the operator's labels, and of its template's those whose keys begin as policy.labels of the chart says"
- expression: >-
    !variables.operator || (variables.newAnnotations.all(a, a in
    ["cluster-autoscaler.kubernetes.io/safe-to-evict", "argocd.argoproj.io/ignore-restart-policy",
    "kubernetes.io/limit-ranger", "openshift.io/scc", "security.openshift.io/validated-scc-subject-type"] ||
    (["sandyard.dev/"] + variables.annotations).exists(b, a.startsWith(b))))
  message: "a sandbox's pod has the operator's annotations, and of its template's those whose keys begin as policy.annotations of the chart says"
- expression: >-
    variables.settled || (variables.spec.all(a, a in ["runtimeClassName", "restartPolicy",
    "automountServiceAccountToken", "enableServiceLinks", "shareProcessNamespace",
    "terminationGracePeriodSeconds", "securityContext", "initContainers", "containers", "volumes",
    "dnsPolicy", "dnsConfig", "hostname", "imagePullSecrets", "nodeSelector", "tolerations",
    "priorityClassName", "schedulerName", "serviceAccountName", "serviceAccount", "priority",
    "preemptionPolicy", "overhead"]) && 'runtimeClassName' in variables.spec && 'restartPolicy' in
    variables.spec && 'automountServiceAccountToken' in variables.spec && 'enableServiceLinks' in
    variables.spec && 'shareProcessNamespace' in variables.spec && 'terminationGracePeriodSeconds' in
    variables.spec && 'securityContext' in variables.spec && 'initContainers' in variables.spec &&
    'containers' in variables.spec && 'volumes' in variables.spec && variables.spec['restartPolicy'] ==
    "Never" && variables.spec['automountServiceAccountToken'] == false && variables.spec['enableServiceLinks']
    == false && variables.spec['shareProcessNamespace'] == true &&
    variables.spec['terminationGracePeriodSeconds'] >= 1 && variables.spec['terminationGracePeriodSeconds'] <=
    3600 && (!('dnsPolicy' in variables.spec) || variables.spec['dnsPolicy'] in ["ClusterFirst", "None"]) &&
    (!('dnsConfig' in variables.spec) || (variables.spec['dnsConfig'].all(a, a in ["nameservers"]) &&
    'nameservers' in variables.spec['dnsConfig'])) && (!('tolerations' in variables.spec) ||
    (variables.spec['tolerations'].all(a, a.all(b, b in ["key", "operator", "value", "effect",
    "tolerationSeconds"]) && 'key' in a && a['key'].matches("^(?:.+)$")))) && (!('priorityClassName' in
    variables.spec) || !((variables.spec['priorityClassName'].startsWith("system-")))) && (!('schedulerName'
    in variables.spec) || variables.spec['schedulerName'] == "default-scheduler") && (!('serviceAccountName'
    in variables.spec) || variables.spec['serviceAccountName'] == "default") && (!('serviceAccount' in
    variables.spec) || variables.spec['serviceAccount'] == "default"))
  message: "a sandbox's pod has just the fields that the operator gives it: nothing of its node, no service account token, no name of a node or of another scheduler"
- expression: >-
    variables.settled || (variables.root ? ('securityContext' in variables.spec &&
    variables.spec['securityContext'].all(a, a in ["runAsNonRoot", "runAsUser", "runAsGroup", "fsGroup",
    "seccompProfile", "fsGroupChangePolicy"]) && 'runAsNonRoot' in variables.spec['securityContext'] &&
    'runAsUser' in variables.spec['securityContext'] && 'runAsGroup' in variables.spec['securityContext'] &&
    'fsGroup' in variables.spec['securityContext'] && 'seccompProfile' in variables.spec['securityContext'] &&
    variables.spec['securityContext']['runAsNonRoot'] == false &&
    variables.spec['securityContext']['runAsUser'] == 64042 && variables.spec['securityContext']['runAsGroup']
    == 64042 && variables.spec['securityContext']['fsGroup'] >= 0 &&
    variables.spec['securityContext']['fsGroup'] <= 2147483647 &&
    variables.spec['securityContext']['seccompProfile'] == {"type": "RuntimeDefault"} &&
    (!('fsGroupChangePolicy' in variables.spec['securityContext']) ||
    variables.spec['securityContext']['fsGroupChangePolicy'] == "OnRootMismatch")) : ('securityContext' in
    variables.spec && variables.spec['securityContext'].all(a, a in ["runAsNonRoot", "runAsUser",
    "runAsGroup", "fsGroup", "seccompProfile", "fsGroupChangePolicy"]) && 'runAsNonRoot' in
    variables.spec['securityContext'] && 'runAsUser' in variables.spec['securityContext'] && 'runAsGroup' in
    variables.spec['securityContext'] && 'fsGroup' in variables.spec['securityContext'] && 'seccompProfile' in
    variables.spec['securityContext'] && variables.spec['securityContext']['runAsNonRoot'] == true &&
    variables.spec['securityContext']['runAsUser'] == 64042 && variables.spec['securityContext']['runAsGroup']
    == 64042 && variables.spec['securityContext']['fsGroup'] >= 0 &&
    variables.spec['securityContext']['fsGroup'] <= 2147483647 &&
    variables.spec['securityContext']['seccompProfile'] == {"type": "RuntimeDefault"} &&
    (!('fsGroupChangePolicy' in variables.spec['securityContext']) ||
    variables.spec['securityContext']['fsGroupChangePolicy'] == "OnRootMismatch")))
  message: "a sandbox runs as non-root (or as root where policy.allowRoot of the chart is on) with the default seccomp profile, and asks for nothing more of the kernel"
- expression: >-
    variables.settled || ('volumes' in variables.spec && variables.spec['volumes'].all(a, (a['name'] ==
    'workspace' && ((a.all(b, b in ["name", "emptyDir"]) && 'name' in a && 'emptyDir' in a &&
    a['emptyDir'].all(b, b in ["sizeLimit", "medium"]) && 'sizeLimit' in a['emptyDir'] && (!('medium' in
    a['emptyDir']) || a['emptyDir']['medium'] in ["", "Memory"])) || (a.all(b, b in ["name",
    "persistentVolumeClaim"]) && 'name' in a && 'persistentVolumeClaim' in a &&
    a['persistentVolumeClaim'].all(b, b in ["claimName"]) && 'claimName' in a['persistentVolumeClaim'] &&
    a['persistentVolumeClaim']['claimName'].matches("^(?:.+-workspace)$")) || (a.all(b, b in ["name",
    "ephemeral"]) && 'name' in a && 'ephemeral' in a && a['ephemeral'].all(b, b in ["volumeClaimTemplate"]) &&
    'volumeClaimTemplate' in a['ephemeral'] && a['ephemeral']['volumeClaimTemplate'].all(b, b in ["spec",
    "metadata"]) && 'spec' in a['ephemeral']['volumeClaimTemplate'] &&
    a['ephemeral']['volumeClaimTemplate']['spec'].all(b, b in ["accessModes", "resources", "storageClassName",
    "volumeMode"]) && 'accessModes' in a['ephemeral']['volumeClaimTemplate']['spec'] && 'resources' in
    a['ephemeral']['volumeClaimTemplate']['spec'] &&
    a['ephemeral']['volumeClaimTemplate']['spec']['accessModes'] == ["ReadWriteOnce"] &&
    a['ephemeral']['volumeClaimTemplate']['spec']['resources'].all(b, b in ["requests"]) && 'requests' in
    a['ephemeral']['volumeClaimTemplate']['spec']['resources'] &&
    a['ephemeral']['volumeClaimTemplate']['spec']['resources']['requests'].all(b, b in ["storage"]) &&
    'storage' in a['ephemeral']['volumeClaimTemplate']['spec']['resources']['requests'] && (!('volumeMode' in
    a['ephemeral']['volumeClaimTemplate']['spec']) ||
    a['ephemeral']['volumeClaimTemplate']['spec']['volumeMode'] == "Filesystem") && (!('metadata' in
    a['ephemeral']['volumeClaimTemplate']) || a['ephemeral']['volumeClaimTemplate']['metadata'].all(b, b in
    ["labels", "creationTimestamp"]))))) || (a['name'] == 'tmp' && a.all(b, b in ["name", "emptyDir"]) &&
    'name' in a && 'emptyDir' in a && a['emptyDir'].all(b, b in ["sizeLimit", "medium"]) && 'sizeLimit' in
    a['emptyDir'] && (!('medium' in a['emptyDir']) || a['emptyDir']['medium'] in ["", "Memory"]))))
  message: "a sandbox has only its own workspace and /tmp, with a size limit, which live and die with it"
- expression: >-
    variables.settled || (variables.root ? (variables.containers.all(a, (('name' in a && 'securityContext' in
    a && !(a['name'] in ["sandyard-probe", "sandyard-closed", "sandyard-restart"]) &&
    a['securityContext'].all(b, b in ["allowPrivilegeEscalation", "readOnlyRootFilesystem", "runAsUser",
    "runAsGroup", "privileged", "capabilities"]) && 'allowPrivilegeEscalation' in a['securityContext'] &&
    'readOnlyRootFilesystem' in a['securityContext'] && 'runAsUser' in a['securityContext'] && 'runAsGroup' in
    a['securityContext'] && a['securityContext']['allowPrivilegeEscalation'] == false &&
    a['securityContext']['readOnlyRootFilesystem'] in [true, false] && a['securityContext']['runAsUser'] == 0
    && ((a['securityContext']['runAsGroup'] == 0) || (((a['securityContext']['runAsGroup'] >= 1 &&
    a['securityContext']['runAsGroup'] <= 64041) || (a['securityContext']['runAsGroup'] >= 64043 &&
    a['securityContext']['runAsGroup'] <= 2147483647)))) && (!('privileged' in a['securityContext']) ||
    a['securityContext']['privileged'] == false) && (!('capabilities' in a['securityContext']) ||
    a['securityContext']['capabilities'] == {"drop": ["ALL"]})) || ('name' in a && 'securityContext' in a &&
    a['name'] in ["sandyard-probe", "sandyard-closed", "sandyard-restart"] && a['securityContext'].all(b, b in
    ["allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities", "privileged"]) &&
    'allowPrivilegeEscalation' in a['securityContext'] && 'readOnlyRootFilesystem' in a['securityContext'] &&
    'capabilities' in a['securityContext'] && a['securityContext']['allowPrivilegeEscalation'] == false &&
    a['securityContext']['readOnlyRootFilesystem'] in [true, false] && a['securityContext']['capabilities'] ==
    {"drop": ["ALL"]} && (!('privileged' in a['securityContext']) || a['securityContext']['privileged'] ==
    false))))) : (variables.containers.all(a, (('name' in a && 'securityContext' in a && !(a['name'] in
    ["sandyard-probe", "sandyard-closed", "sandyard-restart"]) && a['securityContext'].all(b, b in
    ["allowPrivilegeEscalation", "readOnlyRootFilesystem", "runAsUser", "runAsGroup", "capabilities",
    "privileged"]) && 'allowPrivilegeEscalation' in a['securityContext'] && 'readOnlyRootFilesystem' in
    a['securityContext'] && 'runAsUser' in a['securityContext'] && 'runAsGroup' in a['securityContext'] &&
    'capabilities' in a['securityContext'] && a['securityContext']['allowPrivilegeEscalation'] == false &&
    a['securityContext']['readOnlyRootFilesystem'] in [true, false] && ((a['securityContext']['runAsUser'] >=
    1 && a['securityContext']['runAsUser'] <= 64041) || (a['securityContext']['runAsUser'] >= 64043 &&
    a['securityContext']['runAsUser'] <= 2147483647)) && ((a['securityContext']['runAsGroup'] == 0) ||
    (((a['securityContext']['runAsGroup'] >= 1 && a['securityContext']['runAsGroup'] <= 64041) ||
    (a['securityContext']['runAsGroup'] >= 64043 && a['securityContext']['runAsGroup'] <= 2147483647)))) &&
    a['securityContext']['capabilities'] == {"drop": ["ALL"]} && (!('privileged' in a['securityContext']) ||
    a['securityContext']['privileged'] == false)) || ('name' in a && 'securityContext' in a && a['name'] in
    ["sandyard-probe", "sandyard-closed", "sandyard-restart"] && a['securityContext'].all(b, b in
    ["allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities", "privileged"]) &&
    'allowPrivilegeEscalation' in a['securityContext'] && 'readOnlyRootFilesystem' in a['securityContext'] &&
    'capabilities' in a['securityContext'] && a['securityContext']['allowPrivilegeEscalation'] == false &&
    a['securityContext']['readOnlyRootFilesystem'] in [true, false] && a['securityContext']['capabilities'] ==
    {"drop": ["ALL"]} && (!('privileged' in a['securityContext']) || a['securityContext']['privileged'] ==
    false))))))
  message: "a sandbox's containers have no privileges and no capabilities; the tenant's run as the template's user, the operator's as one of their own"
- expression: >-
    variables.settled || (variables.containers.all(a, 'resources' in a && a['resources'].all(b, b in
    ["limits", "requests"]) && 'limits' in a['resources'] && 'requests' in a['resources'] &&
    a['resources']['limits'].all(b, b in ["cpu", "memory", "ephemeral-storage"]) && 'cpu' in
    a['resources']['limits'] && 'memory' in a['resources']['limits'] && 'ephemeral-storage' in
    a['resources']['limits'] && a['resources']['requests'].all(b, b in ["cpu", "memory", "ephemeral-storage"])
    && 'cpu' in a['resources']['requests'] && 'memory' in a['resources']['requests'] && 'ephemeral-storage' in
    a['resources']['requests']))
  message: "a sandbox's containers have limits of cpu, memory and ephemeral-storage, and no others"
- expression: >-
    variables.settled || ('containers' in variables.spec && variables.spec['containers'].all(a, (a['name'] ==
    'sandbox' && a.all(b, b in ["name", "image", "resources", "securityContext", "volumeMounts",
    "imagePullPolicy", "terminationMessagePath", "workingDir", "env", "command", "args", "readinessProbe",
    "terminationMessagePolicy"]) && 'name' in a && 'image' in a && 'resources' in a && 'securityContext' in a
    && 'volumeMounts' in a && a['volumeMounts'] == [{"name": "workspace", "mountPath": "/workspace"}, {"name":
    "tmp", "mountPath": "/tmp"}] && (!('terminationMessagePath' in a) || a['terminationMessagePath'] ==
    "/dev/termination-log") && (!('env' in a) || (a['env'].all(b, b.all(c, c in ["name", "value"]) && 'name'
    in b))) && (!('readinessProbe' in a) || (a['readinessProbe'].all(b, b in ["exec", "periodSeconds",
    "timeoutSeconds", "failureThreshold", "successThreshold"]) && 'exec' in a['readinessProbe'] &&
    a['readinessProbe']['exec'].all(b, b in ["command"]) && 'command' in a['readinessProbe']['exec'])) &&
    (!('terminationMessagePolicy' in a) || a['terminationMessagePolicy'] == "File"))))
  message: "a sandbox has one container, with just the fields that the operator gives it: nothing from other objects, no ports, no hooks"
- expression: >-
    variables.settled || ('containers' in variables.spec && 'initContainers' in variables.spec &&
    variables.spec['containers'].map(a, a['name']) in [["sandbox"]] && variables.spec['initContainers'].map(a,
    a['name']) in [["sandyard-probe"], ["sandyard-probe", "sandyard-setup"], ["sandyard-probe",
    "sandyard-setup", "sandyard-closed"], ["sandyard-probe", "sandyard-clean", "sandyard-restart"],
    ["sandyard-probe", "sandyard-clean", "sandyard-restart", "sandyard-setup"]])
  message: "the proof runs first, then what empties a pod that is restarted and what restarts it, then a setup, and after one that opened the network the proof that it is closed"
- expression: >-
    variables.settled || ('initContainers' in variables.spec && variables.spec['initContainers'].all(a,
    (a['name'] == 'sandyard-probe' && a.all(b, b in ["name", "image", "resources", "securityContext",
    "command", "imagePullPolicy", "terminationMessagePath", "env", "terminationMessagePolicy"]) && 'name' in a
    && 'image' in a && 'resources' in a && 'securityContext' in a && 'command' in a &&
    ((a['image'].startsWith("{{ .Values.image.repository }}:")) || (a['image'].startsWith("{{
    .Values.image.repository }}@"))) && 'readOnlyRootFilesystem' in a['securityContext'] &&
    a['securityContext']['readOnlyRootFilesystem'] == true && a['command'].size() >= 7 && a['command'][0] ==
    "/opt/sandyard/bin/python" && a['command'][1] == "-I" && a['command'][2] == "-m" && a['command'][3] ==
    "sandyard.probe" && a['command'][4] == "--runtime={{ .Values.isolation.runtime }}" && a['command'][5] ==
    "--network={{ .Values.isolation.network }}" && a['command'][6] == "--alone" && a['command'].filter(b,
    !b.matches("^(?:--timeout-seconds=\\d+|--forbidden=\\S+)$")).size() == 7 && (!('terminationMessagePath' in
    a) || a['terminationMessagePath'] == "/dev/termination-log") && (!('env' in a) || (a['env'].all(b,
    b.all(c, c in ["name", "valueFrom"]) && 'name' in b && 'valueFrom' in b && b['name'] ==
    "SANDYARD_NODE_ADDRESS" && b['valueFrom'].all(c, c in ["fieldRef"]) && 'fieldRef' in b['valueFrom'] &&
    b['valueFrom']['fieldRef'].all(c, c in ["apiVersion", "fieldPath"]) && 'apiVersion' in
    b['valueFrom']['fieldRef'] && 'fieldPath' in b['valueFrom']['fieldRef'] &&
    b['valueFrom']['fieldRef']['apiVersion'] == "v1" && b['valueFrom']['fieldRef']['fieldPath'] ==
    "status.hostIP"))) && (!('terminationMessagePolicy' in a) || a['terminationMessagePolicy'] == "File")) ||
    (a['name'] == 'sandyard-clean' && a.all(b, b in ["name", "image", "resources", "securityContext",
    "command", "volumeMounts", "imagePullPolicy", "terminationMessagePath", "env",
    "terminationMessagePolicy"]) && 'name' in a && 'image' in a && 'resources' in a && 'securityContext' in a
    && 'command' in a && 'volumeMounts' in a && ((a['image'].startsWith("{{ .Values.image.repository }}:")) ||
    (a['image'].startsWith("{{ .Values.image.repository }}@"))) && 'readOnlyRootFilesystem' in
    a['securityContext'] && a['securityContext']['readOnlyRootFilesystem'] == true && a['command'] ==
    ["/opt/sandyard/bin/python", "-I", "-m", "sandyard.clean"] && a['volumeMounts'] == [{"name": "workspace",
    "mountPath": "/workspace"}, {"name": "tmp", "mountPath": "/tmp"}] && (!('terminationMessagePath' in a) ||
    a['terminationMessagePath'] == "/dev/termination-log") && (!('env' in a) || (a['env'].all(b, b.all(c, c in
    ["name", "valueFrom"]) && 'name' in b && 'valueFrom' in b && b['name'] == "SANDYARD_NODE_ADDRESS" &&
    b['valueFrom'].all(c, c in ["fieldRef"]) && 'fieldRef' in b['valueFrom'] &&
    b['valueFrom']['fieldRef'].all(c, c in ["apiVersion", "fieldPath"]) && 'apiVersion' in
    b['valueFrom']['fieldRef'] && 'fieldPath' in b['valueFrom']['fieldRef'] &&
    b['valueFrom']['fieldRef']['apiVersion'] == "v1" && b['valueFrom']['fieldRef']['fieldPath'] ==
    "status.hostIP"))) && (!('terminationMessagePolicy' in a) || a['terminationMessagePolicy'] == "File")) ||
    (a['name'] == 'sandyard-restart' && a.all(b, b in ["name", "image", "resources", "securityContext",
    "command", "restartPolicy", "restartPolicyRules", "imagePullPolicy", "terminationMessagePath", "env",
    "terminationMessagePolicy"]) && 'name' in a && 'image' in a && 'resources' in a && 'securityContext' in a
    && 'command' in a && 'restartPolicy' in a && 'restartPolicyRules' in a && ((a['image'].startsWith("{{
    .Values.image.repository }}:")) || (a['image'].startsWith("{{ .Values.image.repository }}@"))) &&
    'readOnlyRootFilesystem' in a['securityContext'] && a['securityContext']['readOnlyRootFilesystem'] == true
    && a['command'] == ["sleep", "2147483647"] && a['restartPolicy'] == "Always" &&
    a['restartPolicyRules'].all(b, b.all(c, c in ["action", "exitCodes"]) && 'action' in b && 'exitCodes' in b
    && b['action'] == "RestartAllContainers" && b['exitCodes'].all(c, c in ["operator", "values"]) &&
    'operator' in b['exitCodes'] && 'values' in b['exitCodes'] && b['exitCodes']['operator'] == "In" &&
    b['exitCodes']['values'] == [138]) && (!('terminationMessagePath' in a) || a['terminationMessagePath'] ==
    "/dev/termination-log") && (!('env' in a) || (a['env'].all(b, b.all(c, c in ["name", "valueFrom"]) &&
    'name' in b && 'valueFrom' in b && b['name'] == "SANDYARD_NODE_ADDRESS" && b['valueFrom'].all(c, c in
    ["fieldRef"]) && 'fieldRef' in b['valueFrom'] && b['valueFrom']['fieldRef'].all(c, c in ["apiVersion",
    "fieldPath"]) && 'apiVersion' in b['valueFrom']['fieldRef'] && 'fieldPath' in b['valueFrom']['fieldRef']
    && b['valueFrom']['fieldRef']['apiVersion'] == "v1" && b['valueFrom']['fieldRef']['fieldPath'] ==
    "status.hostIP"))) && (!('terminationMessagePolicy' in a) || a['terminationMessagePolicy'] == "File")) ||
    (a['name'] == 'sandyard-setup' && a.all(b, b in ["name", "image", "resources", "securityContext",
    "command", "volumeMounts", "imagePullPolicy", "terminationMessagePath", "workingDir", "env",
    "terminationMessagePolicy"]) && 'name' in a && 'image' in a && 'resources' in a && 'securityContext' in a
    && 'command' in a && 'volumeMounts' in a && a['volumeMounts'] == [{"name": "workspace", "mountPath":
    "/workspace"}, {"name": "tmp", "mountPath": "/tmp"}] && (!('terminationMessagePath' in a) ||
    a['terminationMessagePath'] == "/dev/termination-log") && (!('env' in a) || (a['env'].all(b, b.all(c, c in
    ["name", "value"]) && 'name' in b))) && (!('terminationMessagePolicy' in a) ||
    a['terminationMessagePolicy'] == "FallbackToLogsOnError")) || (a['name'] == 'sandyard-closed' && a.all(b,
    b in ["name", "image", "resources", "securityContext", "command", "imagePullPolicy",
    "terminationMessagePath", "env", "terminationMessagePolicy"]) && 'name' in a && 'image' in a &&
    'resources' in a && 'securityContext' in a && 'command' in a && ((a['image'].startsWith("{{
    .Values.image.repository }}:")) || (a['image'].startsWith("{{ .Values.image.repository }}@"))) &&
    'readOnlyRootFilesystem' in a['securityContext'] && a['securityContext']['readOnlyRootFilesystem'] == true
    && a['command'].size() >= 6 && a['command'][0] == "/opt/sandyard/bin/python" && a['command'][1] == "-I" &&
    a['command'][2] == "-m" && a['command'][3] == "sandyard.probe" && a['command'][4] == "--runtime={{
    .Values.isolation.runtime }}" && a['command'][5] == "--network={{ .Values.isolation.network }}" &&
    a['command'].filter(b,
    !b.matches("^(?:--timeout-seconds=\\d+|--forbidden=\\S+|--after-setup|--closed-again=\\S+)$")).size() == 6
    && (!('terminationMessagePath' in a) || a['terminationMessagePath'] == "/dev/termination-log") && (!('env'
    in a) || (a['env'].all(b, b.all(c, c in ["name", "valueFrom"]) && 'name' in b && 'valueFrom' in b &&
    b['name'] == "SANDYARD_NODE_ADDRESS" && b['valueFrom'].all(c, c in ["fieldRef"]) && 'fieldRef' in
    b['valueFrom'] && b['valueFrom']['fieldRef'].all(c, c in ["apiVersion", "fieldPath"]) && 'apiVersion' in
    b['valueFrom']['fieldRef'] && 'fieldPath' in b['valueFrom']['fieldRef'] &&
    b['valueFrom']['fieldRef']['apiVersion'] == "v1" && b['valueFrom']['fieldRef']['fieldPath'] ==
    "status.hostIP"))) && (!('terminationMessagePolicy' in a) || a['terminationMessagePolicy'] == "File"))))
  message: "before a sandbox runs nothing but the operator's proof, exactly as the operator has it, and the template's setup"
{{- end }}

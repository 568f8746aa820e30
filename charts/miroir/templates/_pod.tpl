{{/* A gateway's pod, whatever keeps its number. */}}
{{- define "miroir.pod" -}}
metadata:
  labels:
    {{- include "miroir.selector" . | nindent 4 }}
    {{- with .Values.podLabels }}{{- toYaml . | nindent 4 }}{{- end }}
  annotations:
    checksum/config: {{ include (print $.Template.BasePath "/configmap.yaml") . | sha256sum }}
    {{- with .Values.podAnnotations }}{{- toYaml . | nindent 4 }}{{- end }}
spec:
  serviceAccountName: {{ include "miroir.serviceAccountName" . }}
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    fsGroup: 10001
    seccompProfile: { type: RuntimeDefault }
  containers:
    - name: miroir
      image: "{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}"
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [serve, --config, /etc/miroir/miroir.yaml]
      {{- if or (include "miroir.hasKeys" .) .Values.extraEnv (include "miroir.onPostgres" .) }}
      env:
        {{- if include "miroir.onPostgres" . }}
        - name: POD_NAME
          valueFrom: { fieldRef: { fieldPath: metadata.name } }
        - name: POD_IP
          valueFrom: { fieldRef: { fieldPath: status.podIP } }
        - name: MIROIR_CLUSTER_SECRET
          valueFrom: { secretKeyRef: { name: {{ include "miroir.secretName" . }}, key: cluster-secret } }
        {{- with .Values.config.tls }}
        {{- if .peers }}
        - { name: MIROIR_PEER_SCHEME, value: https }
        {{- end }}
        {{- end }}
        {{- end }}
        {{- if include "miroir.hasKeys" . }}
        - name: MIROIR_MASTER_KEY
          valueFrom: { secretKeyRef: { name: {{ include "miroir.secretName" . }}, key: master-key, optional: true } }
        - name: MIROIR_ADMIN_KEY
          valueFrom: { secretKeyRef: { name: {{ include "miroir.secretName" . }}, key: admin-key, optional: true } }
        - name: MIROIR_NODE_KEY
          valueFrom: { secretKeyRef: { name: {{ include "miroir.secretName" . }}, key: node-key, optional: true } }
        - name: MIROIR_STATE_PASSWORD
          valueFrom: { secretKeyRef: { name: {{ include "miroir.secretName" . }}, key: state-password, optional: true } }
        {{- end }}
        {{- with .Values.extraEnv }}{{- toYaml . | nindent 8 }}{{- end }}
      {{- end }}
      ports:
        - { name: http, containerPort: 7700 }
        - { name: admin, containerPort: 7701 }
        - { name: metrics, containerPort: 9090 }
        {{- if include "miroir.onPostgres" . }}
        - { name: peers, containerPort: 7702 }
        {{- end }}
      {{- if include "miroir.onPostgres" . }}
      # A pod that is to end is no endpoint from now on. It goes on answering until everybody has heard so; then it is told to end,
      # and finishes what is under way.
      lifecycle:
        preStop: { exec: { command: [sleep, {{ .Values.drainSeconds | quote }}] } }
      {{- end }}
      startupProbe:
        httpGet: { path: /health, port: http }
        periodSeconds: 2
        failureThreshold: 60
      livenessProbe:
        httpGet: { path: /health, port: http }
        periodSeconds: 10
      readinessProbe:
        httpGet: { path: /ready, port: admin }
        periodSeconds: 5
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: { drop: [ALL] }
      resources: {{- toYaml .Values.resources | nindent 8 }}
      volumeMounts:
        - { name: config, mountPath: /etc/miroir, readOnly: true }
        - { name: state, mountPath: /var/lib/miroir }
        - { name: spool, mountPath: /tmp }
        {{- with .Values.extraVolumeMounts }}{{- toYaml . | nindent 8 }}{{- end }}
  volumes:
    - name: config
      configMap: { name: {{ include "miroir.fullname" . }} }
    - name: spool
      emptyDir: {}
    {{- with .Values.extraVolumes }}{{- toYaml . | nindent 4 }}{{- end }}
    {{- if include "miroir.onPostgres" . }}
    - name: state
      {{- if .Values.persistence.existingClaim }}
      persistentVolumeClaim: { claimName: {{ .Values.persistence.existingClaim }} }
      {{- else }}
      emptyDir: {}
      {{- end }}
    {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if and (include "miroir.onPostgres" .) (ne .Values.topologySpread "none") }}
  topologySpreadConstraints:
    {{- $when := eq .Values.topologySpread "hard" | ternary "DoNotSchedule" "ScheduleAnyway" }}
    {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - topologyKey: {{ . }}
      maxSkew: 1
      whenUnsatisfiable: {{ $when }}
      labelSelector:
        matchLabels: {{- include "miroir.selector" $ | nindent 10 }}
    {{- end }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- /* The value of an option as its environment variable has it: numbers as they are written, not as 1e+06. */}}
{{- define "mqttzoo.option" -}}
{{- if kindIs "float64" . }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- end }}

{{- define "mqttzoo.labels" -}}
app.kubernetes.io/name: {{ .Values.name }}
{{- end }}

{{- define "mqttzoo.zookeeperLabels" -}}
app.kubernetes.io/name: {{ .Values.zookeeper.name }}
{{- end }}

{{- define "mqttzoo.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end -}}
{{- end }}

{{- /* A secret's value: yours, or the one that is there, or one by chance. */}}
{{- define "mqttzoo.secret" -}}
{{- $there := index . "there" -}}
{{- if .given }}{{ .given | b64enc }}
{{- else if hasKey $there .key }}{{ index $there .key }}
{{- else }}{{ printf "%s%s" .before (randAlphaNum 48) | b64enc }}{{ end -}}
{{- end }}

{{- define "mqttzoo.secretName" -}}
{{ .Values.secrets.existing | default .Values.name }}
{{- end }}

{{- define "mqttzoo.accessName" -}}
{{ .Values.access.existing | default (printf "%s-access" .Values.name) }}
{{- end }}

{{- /* Which servers there are: the chart's own, or those that options.zk names, or none. */}}
{{- define "mqttzoo.zk" -}}
{{- if .Values.zookeeper.enabled -}}
{{- $name := .Values.zookeeper.name -}}
{{- range $at := until 3 }}{{ if $at }},{{ end }}{{ $name }}-{{ $at }}.{{ $name }}:2181{{ end }}
{{- else }}{{ index .Values.options "zk" | default "" }}{{ end -}}
{{- end }}

{{- define "kafleet.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "kafleet.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "kafleet.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "kafleet.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* Roles carry the namespace of the release: two releases of one name may live in two namespaces. */ -}}
{{- define "kafleet.roleName" -}}
{{- printf "%s:%s" .Release.Namespace (include "kafleet.fullname" .) -}}
{{- end -}}

{{- define "kafleet.secretsRoleName" -}}
{{- printf "%s:secrets" (include "kafleet.roleName" .) -}}
{{- end -}}

{{- define "kafleet.serviceAccountName" -}}
{{- default (ternary (include "kafleet.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "kafleet.selectorLabels" -}}
app.kubernetes.io/name: {{ include "kafleet.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "kafleet.labels" -}}
{{- $own := dict
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/version" .Chart.AppVersion
  "app.kubernetes.io/component" "operator"
  "app.kubernetes.io/managed-by" .Release.Service
-}}
{{- merge $own (include "kafleet.selectorLabels" . | fromYaml) .Values.commonLabels | toYaml -}}
{{- end -}}

{{- /* An image reference; takes a dict of the root context, the image's values and their name. */ -}}
{{- define "kafleet.image" -}}
{{- $missing := printf "%s.repository is required: no image is published yet; build and push one and name it, as docs/getting-started.md says" .name -}}
{{- $repository := required $missing .image.repository -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end -}}

{{- /* The keys of Secrets that kafka.authentication and kafka.tls name, as a JSON list of {secret, key}. */ -}}
{{- define "kafleet.kafkaSecrets" -}}
{{- $keys := list -}}
{{- with .Values.kafka.authentication.password }}{{ $keys = append $keys . }}{{ end -}}
{{- with .Values.kafka.authentication.certificateAndKey -}}
{{- $keys = append $keys (dict "secret" .secret "key" (default "tls.crt" .certificate)) -}}
{{- $keys = append $keys (dict "secret" .secret "key" (default "tls.key" .key)) -}}
{{- end -}}
{{- with (.Values.kafka.authentication.oauthbearer).clientSecret }}{{ $keys = append $keys . }}{{ end -}}
{{- with (.Values.kafka.tls).ca }}{{ $keys = append $keys . }}{{ end -}}
{{- toJson $keys -}}
{{- end -}}

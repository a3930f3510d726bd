#!/bin/sh
# Have the greeter greet somebody, by nothing but curl: ./curl.sh Ada
set -eu

data=${AGENTMESH_DATA_DIR:-$HOME/.agentmesh}
url=${AGENTMESH_URL:-http://127.0.0.1:8080}
key=${AGENTMESH_API_KEY:-$(cat "$data/secrets/admin.key")}

task=$(curl -sS --fail-with-body "$url/api/v1/tasks" \
    -H "Authorization: Bearer $key" -H 'Content-Type: application/json' \
    -d "{\"capability\": \"text.greet\", \"input\": {\"name\": \"${1:-world}\"}}")
id=$(printf '%s' "$task" | tr -d ' \n' | sed 's/.*"id":"\([^"]*\)".*/\1/')

# Server-sent events, one for each change, to the last one.
curl -sSN "$url/api/v1/tasks/$id:watch" \
    -H "Authorization: Bearer $key" -H 'Accept: text/event-stream'
curl -sS "$url/api/v1/tasks/$id" -H "Authorization: Bearer $key"

#!/usr/bin/env bash
# Asks the API of a running coordinator for what its document allows and for what it does not, and checks every answer.
# Usage: deploy/fuzz.sh http://127.0.0.1:8080 [arguments of schemathesis]
# It changes what it is pointed at: pauses runs, drains hosts, publishes events. Never point it at a cluster that matters.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
address=${1:?"the address of a coordinator, as http://127.0.0.1:8080"}
shift
venv=${SAS_FUZZ_VENV:-${CARGO_TARGET_DIR:-$here/../target}/fuzz}
if [ ! -x "$venv/bin/schemathesis" ]; then
  echo "installing schemathesis in $venv"
  python3 -m venv "$venv" && "$venv/bin/pip" install --quiet "schemathesis>=4,<5"
fi
# A stream never ends, so nobody waits for its answer. Data that satisfy the document may still be refused: a run may not be there.
exec "$venv/bin/schemathesis" run "$address/api/v1/openapi.json" --max-examples 40 --exclude-path /api/v1/stream \
  --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,negative_data_rejection,unsupported_method \
  --request-timeout 30 --suppress-health-check all "$@"

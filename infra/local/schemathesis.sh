#!/usr/bin/env bash
# What throws odd requests at the service according to its own OpenAPI document: schemathesis, from PyPI. Prints the path of its program.
exec "$(dirname "${BASH_SOURCE[0]}")/python-tool.sh" schemathesis 'schemathesis==4.32.5' schemathesis

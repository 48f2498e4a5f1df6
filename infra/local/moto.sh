#!/usr/bin/env bash
# The second S3 server that the store's tests need: moto, from PyPI. Prints the path of its program.
exec "$(dirname "${BASH_SOURCE[0]}")/python-tool.sh" moto 'moto[server]==5.2.5' moto_server

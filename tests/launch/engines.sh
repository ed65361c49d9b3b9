#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What each engine would be told, on made-up hosts: with NVIDIA GPUs (CDI or not), AMD ones, none. Nothing is run: a program of that name is enough.
# weir-test: timeout=120 asan=yes
. "$(dirname "$0")/../lib.sh"
unset ${!WEIR_PODMAN@} ${!WEIR_DOCKER@} ${!WEIR_APPTAINER@} ${!WEIR_CH_@} ${!DOCKER_@} CUDA_VISIBLE_DEVICES NVIDIA_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES
[ -e "$WEIR_BUILDDIR/tests/launch/fakenvml" ] || skip_all "tests/launch/fakenvml is not built"
cd "$T" && mkdir code
export DOCKER_HOST=unix:///nowhere XDG_CACHE_HOME=$T/cache XDG_STATE_HOME=$T/state
mkdir "$T/bin" "$T/none"
for p in podman docker apptainer ch-run; do printf '#!/bin/sh\necho ran >> %s/ran\n' "$T" > "$T/bin/$p"; chmod +x "$T/bin/$p"; done
PATH=$T/bin:$PATH
conf_local a
fakeroot=$([ "$(id -u)" = 0 ] || echo " --fakeroot")
selinux=$([ -e /sys/fs/selinux/enforce ] && echo " --security-opt label=disable")

gpus() {	# on that made-up host
	export WEIR_GPU_ROOT=$T/$1 WEIR_FAKE_NVML=$T/$1/nvml
}
nvidia() {	# NAME: two GPUs, the second one larger
	mkdir -p "$T/$1/dev" "$T/$1/usr/lib64"
	ln -s "$WEIR_BUILDDIR/tests/launch/fakenvml" "$T/$1/libnvidia-ml.so.1"
	printf 'NVIDIA A100-SXM4-40GB|GPU-aaaaaaaa-1|0|42949672960|42949672960|8|0||\nTesla T4|GPU-bbbbbbbb-2|1|15843721216|15843721216|7|5||\n' > "$T/$1/nvml"
	touch "$T/$1"/dev/nvidia{0,1,ctl,-uvm} "$T/$1"/usr/lib64/{libcuda.so.1,libnvidia-ml.so.1}
}
nvidia plain
nvidia cdi
mkdir -p "$T/cdi/etc/cdi"
printf 'cdiVersion: "0.5.0"\nkind: nvidia.com/gpu\ndevices:\n- name: "0"\n- name: "1"\n- name: all\n' > "$T/cdi/etc/cdi/nvidia.yaml"
mkdir -p "$T"/amd/sys/class/kfd/kfd/topology/nodes/1 "$T"/amd/sys/class/drm/renderD128/device/drm/card0 "$T"/amd/dev/dri
printf 'simd_count 432\ngfx_target_version 90010\ndrm_render_minor 128\nunique_id 255\n' > "$T/amd/sys/class/kfd/kfd/topology/nodes/1/properties"
echo 68702699520 > "$T/amd/sys/class/drm/renderD128/device/mem_info_vram_total"
touch "$T/amd/dev/kfd" "$T/amd/dev/dri/renderD128" "$T/amd/dev/dri/card0"

plan() {	# ENGINE GOLDEN [OPTION…]: the last words of the plan
	local engine=$1 golden=$2
	shift 2
	run "$WEIR" run -n --engine "$engine" --name j --image lab/mod "$@" -- cmd 'a b'
	is "$engine $*" "$rc ${out#*: }${err:+ $err}" "0 $golden"
}

# --- processors only ---------------------------------------------------------------------------------------------------
gpus none
C='run --rm -i --name j --label weir.job=j'
E='--env WEIR_JOB'
N='--env NVIDIA_VISIBLE_DEVICES=none'
for e in podman docker; do
	plan $e "$e $C $E $N --pull never lab/mod cmd 'a b'"
	plan $e "$e $C --env-file FILE $E --env A $N --pull never lab/mod cmd 'a b'" --env A=secret --env PATH=/bin --env LD_PRELOAD=x
	plan $e "$e $C $E --env NVIDIA_VISIBLE_DEVICES --pull never lab/mod cmd 'a b'" --env NVIDIA_VISIBLE_DEVICES=all
	plan $e "$e $C $E $N --cpus 2.5 --memory 4000000000b --shm-size 2000000000b --pids-limit 64 --pull never lab/mod cmd 'a b'" --cpus 2.5 --memory 4GB --pids 64
	plan $e "$e $C$selinux --volume $T/code:/work $E $N --workdir /work --pull never lab/mod cmd 'a b'" --workdir ./code
done
A="run --cleanenv --no-home --writable-tmpfs$fakeroot"
SIF=$T/cache/weir/images/lab%mod
plan apptainer "apptainer $A $SIF.sif cmd 'a b'"
plan apptainer "apptainer $A --pwd /srv $SIF.sif cmd 'a b'" --workdir /srv --env PATH=/bin --env A=secret
plan charliecloud "ch-run --uid 0 --gid 0 --private-tmp --env-no-expand --set-env=FILE $SIF -- cmd 'a b'"
printf '#!/bin/sh\npwd > %s/where\n' "$T" > "$T/bin/apptainer"
touch "$T/here.sif"
run "$WEIR" run --engine apptainer --name where --image "$T/here.sif" -- true
is "apptainer is not called where the caller is, or that folder would be the job's too" "$rc $(cat "$T/where" 2>&1)" "0 /"
run "$WEIR" rm where
rm -f "$T/bin/apptainer" "$T/here.sif"
printf '#!/bin/sh\n' > "$T/bin/singularity"
chmod +x "$T/bin/singularity"
plan apptainer "singularity $A $SIF.sif cmd 'a b'"
WEIR_DOCKER="docker --context lab" WEIR_DOCKER_ARGS="--network host" plan docker "docker --context lab $C $E $N --network host --pull never lab/mod cmd 'a b'"
run "$WEIR" run -n -c "$CONF" --engine apptainer --name j --image lab/mod --storage /a:ro -- true
like "apptainer: storage" "$out" " --bind MOUNT:/storage:ro "
run "$WEIR" run -n -c "$CONF" --engine charliecloud --name j --image lab/mod -- true
like "charliecloud: storage" "$out" " --bind MOUNT:/storage "
run "$WEIR" run -n -c "$CONF" --engine docker --name j --image lab/mod -- true
like "docker: storage" "$out" " --volume MOUNT:/storage:rslave "

# --- GPUs --------------------------------------------------------------------------------------------------------------
gpus cdi
plan podman "podman $C $E --device nvidia.com/gpu=1 --pull never lab/mod cmd 'a b'" --gpus 1
plan podman "podman $C $E --device nvidia.com/gpu=0 --pull never lab/mod cmd 'a b'" --gpus 1:a100
plan docker "docker $C $E --gpus device=GPU-bbbbbbbb-2 --pull never lab/mod cmd 'a b'" --gpus 1
plan docker "docker $C $E --gpus '\"device=GPU-bbbbbbbb-2,GPU-aaaaaaaa-1\"' --pull never lab/mod cmd 'a b'" --gpus all
plan apptainer "singularity $A --nv $SIF.sif cmd 'a b'" --gpus 1
gpus plain
D() { printf -- '--device /dev/nvidia%s --device /dev/nvidiactl --device /dev/nvidia-uvm' "$1"; }
V="--volume $T/plain/usr/lib64/libcuda.so.1:/usr/local/nvidia/lib64/libcuda.so.1:ro --volume $T/plain/usr/lib64/libnvidia-ml.so.1:/usr/local/nvidia/lib64/libnvidia-ml.so.1:ro"
plan podman "podman $C $E $(D 1) $V --env NVIDIA_VISIBLE_DEVICES=GPU-bbbbbbbb-2 --pull never lab/mod cmd 'a b'" --gpus 1
gpus amd
for e in podman docker; do
	plan $e "$e $C $E --device /dev/kfd --device /dev/dri/renderD128 --device /dev/dri/card0 --pull never lab/mod cmd 'a b'" --gpus 1
done
plan apptainer "singularity $A --rocm $SIF.sif cmd 'a b'" --gpus 1
mkdir -p "$T/amd/etc/cdi"
printf '{"cdiVersion":"0.6.0","kind":"amd.com/gpu","devices":[{"name":"0"}]}' > "$T/amd/etc/cdi/amd.json"
plan podman "podman $C $E --device amd.com/gpu=0 --pull never lab/mod cmd 'a b'" --gpus 1

# --- a host without isolation: the job is told which are its own -------------------------------------------------------
gpus plain
run "$WEIR" run --gpus 1:T4 -- sh -c 'echo $CUDA_VISIBLE_DEVICES $NVIDIA_VISIBLE_DEVICES'
is "none: the job's own GPU" "$out" "GPU-bbbbbbbb-2 GPU-bbbbbbbb-2"
run "$WEIR" run -- sh -c 'echo "[$CUDA_VISIBLE_DEVICES] $NVIDIA_VISIBLE_DEVICES"'
is "none: without --gpus there is none" "$out" "[] none"
CUDA_VISIBLE_DEVICES=1 run "$WEIR" run -- sh -c 'echo "[$CUDA_VISIBLE_DEVICES]"'
is "none: unless a batch system has said which" "$out" "[1]"

# --- a GPU that is held for a job that is over -------------------------------------------------------------------------
held() {	# NAME: a process of that job computes on the first GPU
	WEIR_JOB=$1 sleep 1000 &
	pid=$!
	sed -i "1s/|[^|]*$/|$pid/" "$T/plain/nvml"
	mkdir -p "$T/plain/proc/$pid"
	ln -s "/proc/$pid/environ" "$T/plain/proc/$pid/environ"
}
run "$WEIR" run --no-storage --name over -- true
is "a job that is over" "$rc" 0
held over
run "$WEIR" gc
like "weir gc ends what holds its GPU" "$out" "^GPU 0, NVIDIA A100-SXM4-40GB was held by process $pid of job 'over', which is over; it was ended"
wait $pid
is "indeed" $? 143
held somebody-elses
run "$WEIR" gc
unlike "a job that is not known here is left alone" "$out" GPU
if kill -0 $pid; then pass "indeed"; else fail "indeed"; fi
kill $pid
wait $pid
sed -i 's/|[0-9]*$/|/' "$T/plain/nvml"
run "$WEIR" rm over

# --- refusals ----------------------------------------------------------------------------------------------------------
no() { refuse "$1" 246 "^weir: .*$2" "$WEIR" run -n --engine podman --image lab/mod "${@:3}" -- true; }
no "too many" "the job wants 3 GPUs; only 2 here will do, there is NVIDIA A100-SXM4-40GB \(42.95 GB, compute capability 8.0\), Tesla T4" --gpus 3
no "a model that is not here" "the job wants 1 GPU of model 'H100'; none here will do, there is" --gpus 1:H100
sed -i 's/|$/|77/' "$T/plain/nvml"
mkdir -p "$T/plain/proc/77"
echo python3 > "$T/plain/proc/77/comm"
no "all in use" "the job wants 1 GPU; 0 of 2 such are free, used is GPU 0 by process 77 \(python3\)" --gpus 1
gpus none
no "no GPU at all" "this host has no GPU" --gpus 1
mkdir -p "$T/none/sys/bus/pci/devices/0000:c1:00.0"
echo 0x10de > "$T/none/sys/bus/pci/devices/0000:c1:00.0/vendor"
echo 0x030200 > "$T/none/sys/bus/pci/devices/0000:c1:00.0/class"
no "a card without a driver" "there is NVIDIA at 0000:c1:00.0, but no driver shows it" --gpus 1
refuse "not a number" 240 "--gpus 'many': wants a number" "$WEIR" run -n --gpus many -- true
for e in podman docker apptainer charliecloud; do
	refuse "$e without an image" 240 "engine '$e' needs --image NAME" "$WEIR" run -n --engine $e -- true
	refuse "$e: an image and a folder" 240 "exclude each other" "$WEIR" run -n --engine $e --image i --rootfs / -- true
done
refuse "docker has no folders" 240 "exclude|no --rootfs" "$WEIR" run -n --engine docker --rootfs / -- true
rm -f "$T"/bin/*
for e in podman apptainer; do
	refuse "$e that is not here" 243 "engine '$e': '.*' is not installed here" env PATH=/nowhere "$WEIR" run -n --engine $e --image i -- true
done
refuse "docker without a daemon" 243 "engine 'docker': '?.*(not installed|no daemon runs) here" env -u DOCKER_HOST PATH=/nowhere "$WEIR" run -n --engine docker --image i -- true
if [ -e "$T/ran" ]; then fail "nothing was run"; else pass "nothing was run"; fi
done_testing

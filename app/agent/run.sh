# The first process of the container `run`, by a static busybox: waits until the run may start, runs the command with its
# streams on FIFOs, says how it ended, and ends with the same code. Never started by hand: it signals every process it sees.
#   go    FIFO from the agent: `start`, later `use` or the name of a signal for the program and all its children
#   note  FIFO to the agent: `here`, `started`, `use PEAK NOW CPU_NS OOM_KILLS`, `missing`, `denied`, `end STATUS`; what this shell
#         itself prints when the command dies of a signal (`Killed`, `Terminated`) goes there too
[ $$ = 1 ] || { echo "run.sh works as process 1 of a container only" >&2; exit 125; }
d=/podwire

# With builtins only: it must work when the program has used up all processes.
first() { value=0; [ ! -r "$1" ] || read -r value <"$1"; }
entry() {
    value=0
    [ -r "$1" ] || return
    while read -r key rest; do if [ "$key" = "$2" ]; then value=$rest; fi; done <"$1"
}
use() {
    c=/sys/fs/cgroup
    if [ -e $c/memory/memory.usage_in_bytes ]; then
        first $c/memory/memory.max_usage_in_bytes; peak=$value
        first $c/memory/memory.usage_in_bytes; now=$value
        first $c/cpuacct/cpuacct.usage; cpu=$value
        entry $c/memory/memory.oom_control oom_kill
    else
        first $c/memory.peak; peak=$value
        first $c/memory.current; now=$value
        entry $c/cpu.stat usage_usec; cpu=${value}000
        entry $c/memory.events oom_kill
    fi
    echo "use $peak $now $cpu $value"
}

# PODWIRE_PIDS: how many processes and threads there may be, the least of what is set; without it, nothing limits them.
pids() {
    first /sys/fs/cgroup/pids/pids.max
    [ "$value" != 0 ] || first /sys/fs/cgroup/pids.max
    for value in "$value" "$(ulimit -u)"; do
        case $value in
            *[!0-9]* | "" | 0) ;;
            *) [ "${PODWIRE_PIDS:-$value}" -lt "$value" ] || export PODWIRE_PIDS="$value" ;;
        esac
    done
}

exec 4<$d/go 5>$d/note 2>&5
# The agent is told to end together with this process, and passes that on to the program.
trap : TERM
echo here >&5
word=
until [ -n "$word" ]; do read -r word <&4; done
[ "$word" = start ] || exit 125

for file in $d/files/*; do
    if [ -e "$file" ]; then ln -s "$file" .; fi
done
export PATH="$d/bin:${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}"
export PYTHONPATH="$d/lib${PYTHONPATH:+:$PYTHONPATH}"
pids

# To an absolute path: by its name alone, busybox would start an applet of its own instead.
name=$1 program=
shift
case $name in
    */*) [ ! -e "$name" ] || program=$name ;;
    *)  set -f
        IFS=:
        for place in $PATH; do
            if [ -f "${place:-.}/$name" ] && [ -x "${place:-.}/$name" ]; then program=${place:-.}/$name; break; fi
        done
        unset IFS
        set +f ;;
esac
if [ -z "$program" ]; then echo missing >&5; exit 127; fi
if [ -d "$program" ] || [ ! -x "$program" ]; then echo denied >&5; exit 126; fi

(
    trap '' TERM INT HUP QUIT
    while read -r word <&4; do
        if [ "$word" = use ]; then use >&5; else kill -s "$word" -1; fi
    done
) 2>/dev/null &
input=/dev/null
[ -z "${PODWIRE_STDIN:-}" ] || input=$d/stdin
unset PODWIRE_STDIN
# Held open here as well, so that the streams end when everything has ended and not before.
exec 6>$d/stdout 7>$d/stderr
echo started >&5
# In the foreground: what runs in the background of a shell ignores SIGINT.
(exec <"$input" >&6 2>&7 4<&- 5>&- 6>&- 7>&-; exec "$program" "$@")
status=$?
use >&5
echo "end $status" >&5
exit $status

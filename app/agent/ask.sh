#!/bin/sh
# Ask a person from inside a run, in any language that can start a command. POSIX sh and `sleep`, nothing else.
# A question is a file of lines (see request.py) in $PODWIRE_DIR/ask; the reply appears beside it.
set -u
LC_ALL=C

usage() {
    cat <<'END'
Usage: ask [OPTIONS] QUESTION

Asks a person and waits. Prints the answer on standard output.

  --choice TEXT       one of the answers to choose from; give it several times
  --confirm           yes or no: prints yes or no, exits 0 for yes and 1 for no
  --number            the answer is a number
  --secret            the answer is text that is shown and kept nowhere
  --form SCHEMA       the answer is JSON that fits this JSON Schema
  --default VALUE     the answer when the time is over
  --timeout TIME      how long to wait: 90, 90s, 15m, 2h, 1d
  --anyone            everyone who is signed in may answer, not only the run's owner
  --help              this text

Exit status: 0 answered (or the default when the time is over); 1 answered no to --confirm; 2 wrong usage, or the
question was refused; 3 the time is over and there is no default; 4 the question was closed without an answer.
END
}

fail() {
    printf 'ask: %s\n' "$1" >&2
    exit 2
}

field() {
    printf '%s\n' "$1"
    printf '%s\n' "$2" | while IFS= read -r line; do printf ' %s\n' "$line"; done
}

kind='' default='' timeout='' schema='' who=owner text='' choices='' has_text=''
newline='
'
while [ $# -gt 0 ]; do
    option=$1
    case $option in
        --choice | --default | --timeout | --form) [ $# -ge 2 ] || fail "$option needs a value; see ask --help" ;;
    esac
    case $option in
        --help | -h) usage; exit 0 ;;
        --choice) kind=choice choices="$choices$(field choice "$2")$newline"; shift ;;
        --confirm) kind=confirm ;;
        --number) kind=number ;;
        --secret) kind=secret ;;
        --form) kind=form schema=$2; shift ;;
        --default) default=$2; shift ;;
        --timeout) timeout=$2; shift ;;
        --anyone) who=anyone ;;
        --) shift; break ;;
        -?*) fail "there is no option $option; see ask --help" ;;
        *) [ -z "$has_text" ] || fail 'give one question; see ask --help'
           text=$option has_text=1 ;;
    esac
    shift
done
if [ $# -gt 0 ]; then
    if [ -n "$has_text" ] || [ $# -gt 1 ]; then fail 'give one question; see ask --help'; fi
    text=$1 has_text=1
fi
[ -n "$has_text" ] || fail 'give a question; see ask --help'
[ -d "${PODWIRE_DIR:-}/ask" ] || fail 'this works inside a Podwire run only (PODWIRE_DIR is not set)'

folder=$PODWIRE_DIR/ask
count=0
while [ -e "$folder/sh-$$-$count.ask" ] || [ -e "$folder/sh-$$-$count.reply" ]; do count=$((count + 1)); done
name=$folder/sh-$$-$count
trap 'rm -f "$name.draft" "$name.ask"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

{
    field text "$text"
    if [ -n "$kind" ]; then field kind "$kind"; fi
    printf '%s' "$choices"
    if [ -n "$default" ]; then field default "$default"; fi
    if [ -n "$schema" ]; then field schema "$schema"; fi
    if [ -n "$timeout" ]; then field timeout_s "$timeout"; fi
    field who "$who"
} >"$name.draft" && mv "$name.draft" "$name.ask" || fail 'the question could not be written'
# Opened for both directions, so that this never waits for the agent; without the bell it looks twice a second.
[ -p "$PODWIRE_DIR/bell" ] && printf . 1<>"$PODWIRE_DIR/bell"

while [ ! -f "$name.reply" ]; do sleep 0.1 2>/dev/null || sleep 1; done
exec 3<"$name.reply"
rm -f "$name.reply"
IFS= read -r head <&3
case $head in
    'answered value' | 'expired value')
        if [ "$kind" = confirm ]; then
            IFS= read -r value <&3
            printf '%s\n' "$value"
            [ "$value" = yes ] && exit 0
            exit 1
        fi
        cat <&3
        exit 0 ;;
esac
cat <&3 >&2
case $head in
    expired*) exit 3 ;;
    closed*) exit 4 ;;
esac
exit 2

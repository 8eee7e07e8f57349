# bash completion for tsface-audit.

_tsface_audit()
{
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    local command=${COMP_WORDS[1]} words
    local list='--key --accept-key --from-start --after --progress --quiet
        --caller --user
        --operation --request-id --region --credentials --client-addr --since
        --until'
    local each='--result --type --reason --status'

    COMPREPLY=()

    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W 'verify show follow export orphans
            stats keygen help --version' -- "$word")
        return
    fi

    case $before in

    --key | --chain | --public-key | --checkpoints)
        compopt -o filenames 2> /dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
        ;;

    --format)
        words='ocsf ecs cef csv'
        ;;

    --operation)
        words='face.revoke face.revoke_me'
        ;;

    --result)
        words='success denied error unknown refused'
        ;;

    --type)
        words='intent outcome refusal refusals open close rotate key
            checkpoint'
        ;;

    --region)
        words='us eu ca au jp sbx custom'
        ;;

    --after | --seen | --accept-key | --caller | --user | --request-id \
        | --credentials \
        | --client-addr | --reason | --status | --since | --until | --limit \
        | --lines)
        return
        ;;

    *)
        case $command in

        verify)
            words='--key --accept-key --from-start --after --seen --chain
                --public-key --checkpoints --progress --quiet'
            ;;

        show)
            words="$list $each --json --limit"
            ;;

        follow)
            words="${list/--progress --quiet/} $each --json --format --limit
                --lines"
            ;;

        export)
            words="$list $each --format --limit"
            ;;

        orphans)
            words="$list --json"
            ;;

        stats)
            words="$list $each"
            ;;

        *)
            return
            ;;

        esac

        if [ "${word:0:1}" != - ]; then
            compopt -o filenames 2> /dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
        fi
        ;;

    esac

    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}

complete -F _tsface_audit tsface-audit

#!/bin/sh
# "config" names the module's files one by one.  This compares the list with
# what is in the folder.

cd "$(dirname "$0")/.." || exit 1

listed=$(sed -n '/^tsface_names="/,/"$/p' config | sed 's/.*="//; s/"$//')
failed=0

for name in $listed; do
    if [ ! -e "ngx_tsface_module/ngx_http_tsface_$name.c" ]; then
        echo "config names ngx_http_tsface_$name.c, which is not there" >&2
        failed=1
    fi
done

for file in ngx_tsface_module/ngx_http_tsface_*.c; do
    name=${file##*/ngx_http_tsface_}
    name=${name%.c}

    case " $(echo $listed) " in
    *" $name "*)
        ;;
    *)
        echo "$file is not named in config" >&2
        failed=1
        ;;
    esac
done

exit $failed

# ptybridge's marks for fish: where prompts, commands and their output begin and end (OSC 133, OSC 633).
#
# fish finds this file because XDG_DATA_DIRS names this place first; that is put back at once. Descriptor 9 brings the
# nonce that makes marks trusted, then the user's XDG_DATA_DIRS behind a "=", or nothing when it was not set. It is a
# pipe: what has been read is gone, which matters because fish cannot close a descriptor (nor read from it by number).

begin
    read -l nonce
    and read -l home
    and begin
        set -g __ptyb_nonce $nonce
        if string match -q '=*' -- "$home"
            set -gx XDG_DATA_DIRS (string sub -s 2 -- $home)
        else
            set -e XDG_DATA_DIRS
        end
    end
end </dev/fd/9 2>/dev/null

if status is-interactive; and set -q __ptyb_nonce
    set -g __ptyb_n 0

    # As VS Code escapes (https://code.visualstudio.com/docs/terminal/shell-integration): no control character, no `;`.
    function __ptyb_escape
        string sub -l 8192 -- $argv[1] | string replace -a \\ '\\x5c' | string replace -a ';' '\\x3b' \
            | string replace -ar '[\x01-\x1f]' ' ' | string join '\x0a'
    end

    function __ptyb_postexec --on-event fish_postexec
        printf '\e]133;D;%s;ptyb=%s:%s\a' $status $__ptyb_nonce $__ptyb_n >/dev/tty 2>/dev/null
    end

    function __ptyb_prompt --on-event fish_prompt
        set -g __ptyb_n (math $__ptyb_n + 1)
        set -l key "ptyb=$__ptyb_nonce:$__ptyb_n"
        printf '\e]633;P;Cwd=%s;%s\a\e]133;A;%s\a\e]133;B;early;%s\a' (__ptyb_escape $PWD) $key $key $key >/dev/tty 2>/dev/null
    end

    function __ptyb_preexec --on-event fish_preexec
        set -l line $argv[1]
        # A leading space keeps a line out of the user's history, and so out of ours.
        string match -q ' *' -- "$line"
        and set line ''
        set -l text (__ptyb_escape "$line")
        set -l key "ptyb=$__ptyb_nonce:$__ptyb_n"
        printf '\e]633;E;%s;%s\a\e]133;C;%s\a' "$text" $key $key >/dev/tty 2>/dev/null
    end
end


# Our commands hold colons, and bash takes a colon for the end of a word. Pieces that stand together are joined before the words above are asked,
# and what is typed already, up to its last colon, is cut off what they answer.
_landfall_with_colons() {
    local rest=$COMP_LINE asked=$COMP_CWORD at word
    local -a joined=()
    for at in "${!COMP_WORDS[@]}"; do
        word=${COMP_WORDS[at]}
        if [[ ${#joined[@]} -gt 0 && $rest == "$word"* && $rest != [[:space:]]* && ($word == : || ${joined[-1]} == *:) ]]; then
            joined[-1]+=$word
        else
            joined+=("$word")
            rest=${rest#"${rest%%[![:space:]]*}"}
        fi
        rest=${rest#"$word"}
        if [[ $at -eq $asked ]]; then COMP_CWORD=$((${#joined[@]} - 1)); fi
    done
    COMP_WORDS=("${joined[@]}")
    local current=${COMP_WORDS[COMP_CWORD]}
    _landfall "$1" "$current" "${COMP_WORDS[COMP_CWORD - 1]}"
    if [[ $current == *:* && $COMP_WORDBREAKS == *:* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${current%"${current##*:}"}"}")
    fi
}
complete -F _landfall_with_colons -o bashdefault -o default landfall

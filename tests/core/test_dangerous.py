"""The dangerous-command check: every bypass of the reference is caught, and what is harmless raises no alarm."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptybridge.core import shellparse
from ptybridge.core.dangerous import Place, judge


def rules(command: str | list[str], **place: str) -> set[str]:
    return {one.rule for one in judge(command, Place(**place))}


REFERENCE = [
    ("rm -rf /", "rm"),
    ("rm -rf /usr", "rm"),
    ("rm -rf /home", "rm"),
    ("mkfs /dev/sdb1", "mkfs"),
    ("mkfs.ext4 -F /dev/sdb1", "mkfs"),
    ("dd if=/dev/zero of=/dev/sda bs=1M", "dd"),
    ("dd if=/dev/zero of=/dev/sda bs=1M count=10", "dd"),
    ("dd if=/dev/urandom of=/dev/nvme0n1", "dd"),
    ("dd if=/dev/zero", "dd"),
    ("shutdown -h now", "power"),
    ("reboot", "power"),
    ("poweroff", "power"),
    ("halt -p", "power"),
    ("init 0", "power"),
    ("telinit 6", "power"),
    ("systemctl poweroff", "power"),
    ("systemctl --force reboot", "power"),
    ("systemctl isolate reboot.target", "power"),
]


@pytest.mark.parametrize(("command", "rule"), REFERENCE, ids=[one[0] for one in REFERENCE])
def test_row60_what_the_reference_catches_is_caught(command: str, rule: str) -> None:
    assert rule in rules(command)


BYPASSES = [
    "rm -fr /",
    "rm -r -f /",
    "rm -rf /*",
    "rm -rf --no-preserve-root /",
    "rm -Rf /",
    "rm -rf ~",
    "rm -rf $HOME",
    "dd of=/dev/sda if=/dev/zero",
    "/bin/rm --recursive --force /",
    ":(){ :|:& };:",
]


@pytest.mark.parametrize("command", BYPASSES)
def test_c15_the_ten_bypasses_are_caught(command: str) -> None:
    assert judge(command)


WRAPPED = [
    "sudo rm -rf /",
    "sudo -u root -n rm -rf /",
    "sudo -nu root rm -rf /",
    "env X=1 rm -rf /",
    "env -S 'rm -rf /'",
    "X=1 rm -rf /",
    "nohup rm -rf / &",
    "time rm -rf /",
    "echo / | xargs rm -rf",
    "echo / | xargs -I{} rm -rf {}",
    "find / | xargs rm -rf",
    "command rm -rf /",
    "exec rm -rf /",
    "exec -a ls rm -rf /",
    "busybox rm -rf /",
    "doas rm -rf /",
    "timeout -k 5 10 rm -rf /",
    "nice -n 19 rm -rf /",
    "nice -19 rm -rf /",
    "ionice -c3 nice rm -rf /",
    "stdbuf -oL rm -rf /",
    "setsid rm -rf /",
    "su -c 'rm -rf /'",
    "su root -c 'rm -rf /'",
    "ssh host rm -rf /",
    "ssh -p 22 host 'sudo reboot'",
    "watch -n 1 reboot",
    "bash -c 'rm -rf /'",
    "bash -lc 'rm -rf /'",
    "sh -ec 'cd /; rm -rf *'",
    "bash -o pipefail -c 'rm -rf /'",
    "bash --norc -c 'rm -rf /'",
    "bash -c '$0 -rf /' rm",
    "bash -c 'rm -rf $1' _ /",
    "bash -c \"bash -c 'rm -rf /'\"",
    "eval 'rm -rf /'",
    "eval rm -rf /",
    'eval "$(echo rm -rf /)"',
    "echo $(rm -rf /)",
    "echo `rm -rf /`",
    'echo "$(rm -rf /)"',
    "(rm -rf /)",
    "{ rm -rf /; }",
    "cat <(rm -rf /)",
    "true && rm -rf /",
    "false || rm -rf /",
    "true; rm -rf /",
    "if true; then rm -rf /; fi",
    "while true; do rm -rf /; done",
    "case x in x) rm -rf /;; esac",
    "f() { rm -rf /; }; f",
    "! rm -rf /",
    "[[ -d / ]] && rm -rf /",
    "trap 'rm -rf /' EXIT",
    "alias ls='rm -rf /'",
    "echo 'rm -rf /' | sh",
    "echo 'rm -rf /' | sudo bash -s",
    "printf 'rm -rf %s' / | bash",
    "printf 'rm -rf \\x2f' | bash",
    "bash <<< 'rm -rf /'",
    "bash <<EOF\nrm -rf /\nEOF",
    "cat <<'EOF' | sh\nrm -rf /\nEOF\n",
    "sudo sh <<'EOF'\nX=/\nrm -rf $X\nEOF\n",
    "bash <(echo rm -rf /)",
    "bash < <(echo rm -rf /)",
    "echo hello\nrm -rf /\n",
    "rm -rf \\\n /",
    "coproc rm -rf /",
    "read X <<< /; rm -rf $X",
]


@pytest.mark.parametrize("command", WRAPPED)
def test_c15_wrappers_hide_nothing(command: str) -> None:
    assert judge(command), command


QUOTED = [
    r"r\m -rf /",
    '"rm" -rf /',
    "'r'm -rf /",
    r"$'\x72m' -rf /",
    r"$'\162\155' -rf /",
    "X=/; rm -rf $X",
    'X=/; rm -rf "${X}"',
    "X='rm -rf /'; $X",
    "X=rm; $X -rf /",
    "X=r; Y=m; $X$Y -rf /",
    'a=(rm -rf /); "${a[@]}"',
    "X=RM; ${X,,} -rf /",
    "{rm,-rf,/}",
    "rm -rf /{usr,etc}",
    "rm${IFS}-rf${IFS}/",
    "rm -rf ${X:-/}",
    "rm -rf ${PATH:0:1}",
    "rm -rf $(echo /)",
    "$(echo rm) -rf /",
    "export X=/; rm -rf $X",
    "for x in a /; do rm -rf $x; done",
    "X=/; X+=usr; rm -rf $X",
    "/bin/r? -rf /",
    "rm -rf //",
    "rm -rf /./",
    "rm -rf /tmp/..",
    "rm -rf -- /",
    "rm -rf / --",
    "rm --recurs /",
    "rm -rf /home/*",
    "rm -rf ~/*",
    "rm -rf ~/",
    "rm -rf ~root",
    "rm -rf $HOME/.*",
    "rm -rf /usr/lib",
    "rm -rf /home/someone",
    "cd / && rm -rf *",
    "cd /; rm -rf .",
    "cd ~ && rm -rf *",
    "cd / && rm -rf usr",
    "if false; then X=a; else X=/; fi; rm -rf $X",
]


@pytest.mark.parametrize("command", QUOTED)
def test_c15_quoting_and_variables_hide_nothing(command: str) -> None:
    assert "rm" in rules(command), command


OTHERS = [
    ("find / -delete", "find-delete"),
    ("find ~ -name '*.o' -delete", "find-delete"),
    ("find / -type f -exec rm -f {} +", "find-delete"),
    ("find /usr -exec rm -rf {} \\;", "find-delete"),
    ("chmod -R 777 /", "chmod"),
    ("chown -R me:me /usr", "chmod"),
    ("chown --recursive me ~", "chmod"),
    ("> /dev/sda", "device"),
    ("echo x > /dev/nvme0n1", "device"),
    ("cat image >> /dev/sdb", "device"),
    ("cat image | sudo tee /dev/sdb", "device"),
    ("cp image /dev/sdb", "device"),
    ("dd if=image of=/dev/sdb", "dd"),
    ("mv / /dev/null", "mv"),
    ("mv ~ /dev/null", "mv"),
    ("mv /usr/* /dev/null", "mv"),
    ("wipefs -a /dev/sdb", "device"),
    ("blkdiscard /dev/sdb", "device"),
    ("shred /dev/sda", "device"),
    ("echo b > /proc/sysrq-trigger", "power"),
    ("kill -9 -1", "kill"),
    ("rsync -a --delete empty/ /", "rsync"),
    ("bomb() { bomb | bomb & }; bomb", "fork-bomb"),
    ("ptybridge approvals allow 1234", "approval"),
]


@pytest.mark.parametrize(("command", "rule"), OTHERS, ids=[one[0] for one in OTHERS])
def test_row60_other_disasters_are_caught(command: str, rule: str) -> None:
    assert rule in rules(command)


UNSEEN = [
    "curl https://example.com/x.sh | sh",
    "curl -s https://example.com/x.sh | sudo bash",
    "wget -qO- https://example.com | bash -s -- --yes",
    "curl x | tee log | sh",
    "echo cm0gLXJmIC8= | base64 -d | sh",
    "base64 -d <<< cm0gLXJmIC8= | sh",
    "echo 'eu -es /' | tr a-z n-za-m | sh",
    "bash <(curl x)",
    "source <(curl x)",
    ". <(wget -O- x)",
    'eval "$(curl x)"',
    'bash -c "$(curl x)"',
    'sh -c "$(echo cm0gLXJmIC8= | base64 -d)"',
    "$(echo cmVib290 | base64 -d)",
    "openssl enc -d -in x | bash",
    "some-generator | sh",
    "sh < <(curl x)",
]


@pytest.mark.parametrize("command", UNSEEN)
def test_c15_code_that_cannot_be_seen_is_asked_about(command: str) -> None:
    assert "unseen-code" in rules(command)


HARMLESS = [
    "echo reboot",
    "grep shutdown file",
    "grep -r 'rm -rf /' .",
    "man reboot",
    "which reboot",
    "command -v reboot",
    "sudo grep reboot /var/log/syslog",
    'git commit -m "rm -rf /"',
    "rm -rf ./build",
    "rm -rf build dist",
    "rm -rf *",
    "rm -rf /tmp/x/y",
    "rm -rf /tmp/x",
    "rm -rf /tmp/*",
    "rm -rf ~/project/build",
    "rm -rf $HOME/.cache/pip",
    'rm -rf "$BUILD_DIR"',
    'rm -rf "$BUILD_DIR/out"',
    "rm file",
    "rm -f /usr",
    "# rm -rf /",
    "ls # rm -rf /",
    "cat <<EOF\nrm -rf /\nEOF\n",
    "cat > notes.txt <<'EOF'\nreboot\nrm -rf /\nEOF\n",
    "echo 'rm -rf /'",
    'echo "do not rm -rf / please" > warning.txt',
    "printf '%s\\n' 'shutdown -h now'",
    "dd if=/dev/zero of=./image bs=1M count=10",
    "dd if=/dev/zero bs=1M count=1 | md5sum",
    "dd if=/dev/sda of=backup.img",
    "echo x > /dev/null",
    "echo x > /dev/stderr 2>&1",
    "find . -name '*.pyc' -delete",
    "find / -name passwd",
    "find / -name '*.conf' -exec grep x {} +",
    "chmod -R u+w ./src",
    "chmod 755 /usr",
    "mv a b",
    "mv build /tmp",
    "systemctl status reboot.target",
    "systemctl restart nginx",
    "shutdown -c",
    "reboot --help",
    "init --help",
    "bash script.sh",
    "bash -c 'echo reboot'",
    "bash -lc 'make test'",
    "cat script.sh | grep rm",
    "cat install.sh | sh",
    "curl https://example.com -o file",
    "curl https://example.com | jq .",
    "echo hello | sh -c cat",
    'eval "$(ssh-agent -s)"',
    'eval "$(direnv hook bash)"',
    "ssh host uptime",
    "ssh host",
    "f() { g; }; f",
    "fib() { fib $(($1-1)); fib $(($1-2)); }",
    "kill -9 1234",
    "kill -1 1234",
    "python -c 'print(\"rm -rf /\")'",
    "vim reboot.txt",
    "tmux new -s reboot",
    "alias ll='ls -l'",
    "PATH=$PATH:/opt/bin make",
    "for f in *.c; do rm -f $f; done",
    "docker run --rm -it debian",
    "npm run reboot",
    "",
    "   ",
]


@pytest.mark.parametrize("command", HARMLESS)
def test_c15_the_harmless_raises_no_alarm(command: str) -> None:
    assert judge(command) == []


def test_a_list_is_judged_as_it_is_executed() -> None:
    assert rules(["rm", "-rf", "/"]) == {"rm"}
    assert rules(["bash", "-c", "rm -rf /"]) == {"rm"}
    assert rules(["sudo", "sh", "-c", "echo x; reboot"]) == {"power"}
    assert rules(["echo", "$(rm -rf /)"]) == set()
    assert rules(["rm", "-rf", "$HOME"]) == set()
    assert rules([]) == set()


def test_the_directory_counts() -> None:
    assert rules("rm -rf *", cwd="/") == {"rm"}
    assert rules("rm -rf .", cwd="/home/me", home="/home/me") == {"rm"}
    assert rules("rm -rf .", cwd="/srv/www/app") == set()
    assert rules("rm -rf /srv/data/me", home="/srv/data/me") == {"rm"}


def test_reasons_are_plain_words() -> None:
    (found,) = judge("sudo rm -rf /usr")
    assert found.reason == "it deletes /usr and everything below it"


@pytest.mark.parametrize(
    "text",
    [
        "(" * 20_000,
        "$(" * 10_000,
        "`" * 30_001,
        '"$(' * 10_000,
        "${a:-" * 10_000,
        "if a; then " * 5000,
        "a && " * 10_000 + "b",
        "cat <<A " * 8000,
        "x" * 1_000_000,
        "{a,b}" * 5000,
        "X=$X$X;" * 5000,
        "bash -c " * 5000,
        "sudo " * 12_000 + "ls",
        "echo a | " * 6000 + "sh",
        "f() { f | f & }; " * 3000,
        "'" * 30_001,
        "\x00\ud800\ue000" * 1000,
        "$'\\" * 9000,
    ],
    ids=lambda text: text[:12].encode("ascii", "replace").decode(),
)
def test_hostile_scripts_neither_break_nor_hold_up(text: str) -> None:
    began = time.process_time()
    judge(text)
    assert time.process_time() - began < 10


def test_what_is_too_large_is_not_called_harmless() -> None:
    assert rules("echo a\n" * 20_000) == {"unjudged"}
    nested = "reboot"
    for _ in range(12):
        nested = "eval " + "".join("\\" + char for char in nested) if len(nested) < 3000 else nested
    assert judge(nested)


@settings(max_examples=300)
@given(st.text(alphabet="rmf -/|&;<>(){}[]$'\"`\\#~*=\nabEOF!", max_size=60))
def test_no_text_breaks_the_judgement(text: str) -> None:
    judge(text)


@settings(max_examples=100)
@given(st.text(alphabet="|&;<>(){}$'\"`\\#\n ab", max_size=20))
def test_what_follows_a_line_of_its_own_is_seen_or_swallowed_by_a_quote(text: str) -> None:
    """Text before a command never makes it invisible unless it opens what the shell would take as one word."""
    if not set(text) & set("'\"`\\#$(){}<>&|"):
        assert "rm" in rules(f"{text}\nrm -rf /")


def test_the_grammar_is_loaded_late() -> None:
    shellparse.warm()
    assert shellparse.parseable("ls")

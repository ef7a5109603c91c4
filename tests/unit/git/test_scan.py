from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostd.git.patch import Added, Touched, read
from hostd.git.scan import Finding, Severity, scan
from tests.fakes.brokerage import GIT_ENV, git

LOG = ["log", "--patch", "--unified=0", "--text", "-c", "--no-renames", "--format=commit %H"]


def patch(path: str, *lines: str) -> bytes:
    head = (
        f"commit {'a' * 40}\n\ndiff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n@@ -0,0 +1,{len(lines)} @@\n"
    )
    return (head + "".join(f"+{line}\n" for line in lines)).encode()


def found(path: str, line: str) -> list[Finding]:
    return scan(patch(path, line))


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("key = '" + "AKIA" + "QWERTYUIOPASDFGH" + "'", "secret.aws-access-key"),
        ("-----BEGIN " + "RSA PRIVATE KEY-----", "secret.private-key"),
        ("-----BEGIN " + "OPENSSH PRIVATE KEY-----", "secret.private-key"),
        ("token: ghp_" + "a1B2" * 9, "secret.github-token"),
        ("x = 'sk-ant-" + "api03-" + "Ab1_" * 20 + "'", "secret.anthropic-api-key"),
        ("SLACK=xoxb-" + "123456789012-123456789012-" + "a" * 24, "secret.slack-token"),
        ("stripe = 'sk_live_" + "a1B2c3D4e5F6g7H8i9J0k1L2'", "secret.stripe-access-key"),
        ("//registry.npmjs.org/:_auth" + "Token=npm_" + "a1B2" * 9, "secret.npm-tokens"),
        ("google = 'AIza" + "a1B2C" * 7 + "'", "secret.google-api-key"),
    ],
)
def test_certain_secrets_are_critical_in_any_file(line: str, rule: str) -> None:
    for path in ("a.py", "notes.txt"):
        findings = found(path, line)
        assert (rule, Severity.CRITICAL) in [(each.rule, each.severity) for each in findings], findings
        assert all(line not in str(each) for each in findings)


@pytest.mark.parametrize(
    "line",
    [
        "password = os.environ['PASSWORD']",
        "api_key: ${API_KEY}",
        "commit 8f0c2d1e3b4a5968778695a4b3c2d1e0f0e1d2c3",
        "def test_secret(self) -> None:",
        "the quick brown fox",
        "https://example.org/?token=<your-token>",
    ],
)
def test_harmless_lines_are_not_critical(line: str) -> None:
    assert [each for each in found("a.py", line) if each.severity is Severity.CRITICAL] == []


@pytest.mark.parametrize(
    ("line", "rule", "severity"),
    [
        ('cur.execute(f"SELECT * FROM t WHERE id={x}")', "injection.sql-fstring", "warning"),
        ('cur.execute("SELECT * FROM t WHERE id=" + x)', "injection.sql-concat", "warning"),
        ('cur.execute("SELECT * FROM t WHERE id=%s" % x)', "injection.sql-concat", "warning"),
        ("db.query(`DELETE FROM t WHERE id=${id}`)", "injection.sql-template", "warning"),
        ('$q = "SELECT * FROM t WHERE id=" . $_GET["id"];', "injection.sql-input", "critical"),
        ('execute("SELECT * FROM t WHERE n=" + request.args["n"])', "injection.sql-input", "critical"),
        ('os.system(f"ls {path}")', "injection.command", "warning"),
        ('os.system("ls " + request.args["p"])', "injection.command-input", "critical"),
        ('subprocess.run(f"ls {path}", shell=True)', "injection.command-shell", "warning"),
        ('subprocess.run("ls " + sys.argv[1], shell=True)', "injection.command-input", "critical"),
        ("eval(input())", "injection.eval-input", "critical"),
        ("child_process.exec(`ls ${x}`)", "injection.command-node", "warning"),
    ],
)
def test_injection(line: str, rule: str, severity: str) -> None:
    path = "a.php" if line.startswith("$") else "a.py"
    assert (rule, severity) in [(each.rule, each.severity) for each in found(path, line)]


@pytest.mark.parametrize(
    "line",
    [
        'cur.execute("SELECT * FROM t WHERE id=%s", (x,))',
        'cur.execute("SELECT * FROM t WHERE id=?", [x])',
        'subprocess.run(["ls", path], check=True)',
        "# SELECT a FROM b, then request.args",
        "result = system_check()",
    ],
)
def test_parameters_and_lists_are_fine(line: str) -> None:
    assert [
        each for each in found("a.py", line) if each.rule.startswith("injection") and "input" not in each.rule
    ] == []


def test_prose_is_not_code() -> None:
    assert found("README.md", "eval(input())") == []


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        (".github/workflows/x.yml", "path.ci"),
        ("sub/.gitlab-ci.yml", "path.ci"),
        ("Jenkinsfile", "path.ci"),
        ("CLAUDE.md", "path.agent-config"),
        (".vscode/tasks.json", "path.agent-config"),
        (".gitmodules", "path.git-config"),
    ],
)
def test_files_that_steer_machines_are_noticed(path: str, rule: str) -> None:
    assert [(each.severity, each.rule, each.line) for each in found(path, "x")] == [("notice", rule, 0)]


@pytest.mark.parametrize("before", [0, 3600, 4080, 4096, 9000])
def test_a_secret_far_into_a_long_line_is_found(before: int) -> None:
    secret = "ghp_" + "a1B2" * 9
    assert "secret.github-token" in [
        each.rule for each in found("a.min.js", "x;" * (before // 2) + secret + "; y" * 99)
    ]


def test_a_secret_in_utf_16_or_beside_a_nul_is_found() -> None:
    secret = "ghp_" + "a1B2" * 9
    for line in (secret.encode("utf-16-le").decode(), "\0" + secret):
        assert [each.rule for each in found("a.py", line)] == ["secret.github-token"]
    assert found("a.bin", "\0password = 'hunter22hunter22'") == []


def test_many_warnings_leave_room_for_what_is_critical() -> None:
    lines = [f"password = 'correct horse {number}'" for number in range(1000)]
    findings = scan(patch("a.py", *lines, "eval(input())"))
    assert (len(findings), findings[0].severity, findings[0].line) == (200, "critical", 1001)


def test_critical_findings_come_first_and_name_the_line() -> None:
    findings = scan(patch("a.py", "x = 1", 'os.system(f"ls {path}")', "eval(input())"))
    assert [(each.severity, each.line) for each in findings] == [("critical", 3), ("warning", 2)]


def test_patches_of_real_commits_and_merges(tmp_path: Path) -> None:
    def commit(name: str, text: str) -> None:
        (tmp_path / name).write_text(text)
        git(tmp_path, "add", "-A")
        git(tmp_path, "commit", "-q", "-m", name)

    git(tmp_path, "init", "-q", "-b", "main")
    commit("a b.txt", "one\n++ two\n-- three\n")
    git(tmp_path, "checkout", "-q", "-b", "side")
    commit('q"\u00fc.txt', "side\n")
    commit("a b.txt", "side\n")
    git(tmp_path, "checkout", "-q", "main")
    commit("a b.txt", "main\n")
    git(tmp_path, "merge", "side", check=False)
    commit("a b.txt", "evil\nmain\nside\n")
    data = subprocess.run(["git", *LOG], cwd=tmp_path, env=GIT_ENV, stdout=subprocess.PIPE, check=True).stdout
    items = list(read(data))
    assert {item.path for item in items if isinstance(item, Touched)} == {"a b.txt", 'q"\u00fc.txt'}
    added = [(item.path, item.line, item.text) for item in items if isinstance(item, Added)]
    assert sorted(added) == [
        ("a b.txt", 1, "evil"),
        ("a b.txt", 1, "main"),
        ("a b.txt", 1, "one"),
        ("a b.txt", 1, "side"),
        ("a b.txt", 2, "++ two"),
        ("a b.txt", 3, "-- three"),
        ('q"\u00fc.txt', 1, "side"),
    ]


@given(
    st.lists(
        st.sampled_from(
            [
                "diff --git a/x b/x",
                "diff --cc x",
                'diff --git "a/\\303" "b/\\303"',
                "@@ -1 +1 @@",
                "@@@ -1 -1 +1 @@@",
                "+a",
                "-b",
                "++c",
                "\\ No",
                "commit x",
                "diff ",
                "@@",
                "",
            ]
        )
    )
)
def test_any_patch_can_be_read(lines: list[str]) -> None:
    for finding in scan("\n".join(lines).encode()):
        assert str(finding).isprintable()

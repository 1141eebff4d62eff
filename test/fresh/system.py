"""A Debian minimal system in a folder, as debootstrap makes it, with this machine's ways to the network and nothing else.

The caller is in a mount namespace of its own: what is mounted here ends with that."""
import fcntl
import os
import pathlib
import re
import shutil
import subprocess
import time

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "appmesh-fresh"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
MAXIMUM_AGE = 30 * 86400
# Files by which programs reach the network on this machine: names, proxies, certificate authorities.
NETWORK_FILES = ("etc/resolv.conf", "etc/hosts", "etc/pip.conf", "etc/npmrc", "etc/ssl/certs/ca-certificates.crt",
                 "usr/local/share/ca-certificates", "etc/apt/apt.conf.d", "etc/apt/auth.conf.d")
NETWORK_VARIABLES = re.compile(r"(?i)^(https?|ftp|all|no)_proxy$|^(PIP_(CERT|INDEX_URL|EXTRA_INDEX_URL|DEFAULT_TIMEOUT)|SSL_CERT_FILE|"
                               r"NODE_EXTRA_CA_CERTS|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|npm_config_.*)$")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def archives():
    """[(address, code name)] of Debian's own archives among this machine's sources: others are no part of a minimal system."""
    words = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages", "Origin: Debian", "Component: main"]
    for refresh in (False, True):
        if refresh:
            subprocess.run(["apt-get", "update", "-qq"], check=True, stdin=subprocess.DEVNULL)
        lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
        if lines:
            return [(address.rstrip("/"), name) for address, name in map(str.split, lines)]
    raise SystemExit("apt-get knows no archive of Debian here; see /etc/apt/sources.list and /etc/apt/sources.list.d")


def mirror_and_suite():
    suite = re.search(r"^VERSION_CODENAME=(\w+)", pathlib.Path("/etc/os-release").read_text(), re.MULTILINE)[1]
    found = [address for address, name in archives() if name == suite]
    if not found:
        raise SystemExit(f"no source of Debian {suite} in /etc/apt")
    return found[0], suite


def source_files():
    """The files in which apt finds Debian's archives."""
    addresses = {address for address, _ in archives()}
    folder = pathlib.Path("/etc/apt/sources.list.d")
    files = [pathlib.Path("/etc/apt/sources.list"), *sorted(folder.glob("*.list")), *sorted(folder.glob("*.sources"))]
    return [file for file in files if file.is_file() and any(address in file.read_text(errors="replace") for address in addresses)]


def base(say):
    """Folder of the minimal system as debootstrap left it, made when there is none or an old one, by one run at a time."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return made_base(say, *mirror_and_suite())


def made_base(say, mirror, suite):
    folder = CACHE / suite
    stamp = CACHE / f"{suite}.made"  # written last
    if stamp.exists() and stamp.read_text() == mirror and time.time() - stamp.stat().st_mtime < MAXIMUM_AGE:
        return folder
    say(f"making the minimal system of Debian {suite} in {CACHE} (once a machine: 200 MB, about 2 min)")
    stamp.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    log = CACHE / "debootstrap.log"
    with open(log, "wb") as output:
        done = subprocess.run(["debootstrap", "--variant=minbase", f"--keyring={KEYRING}", suite, folder, mirror], stdout=output, stderr=output,
                              stdin=subprocess.DEVNULL, env={**os.environ, "PATH": PATH}, check=False)
    if done.returncode:
        raise SystemExit(log.read_text(errors="replace")[-2000:] + f"\ndebootstrap failed; all of its words are in {log}")
    shutil.rmtree(folder / "var/cache/apt/archives", ignore_errors=True)
    (folder / "var/cache/apt/archives/partial").mkdir(parents=True)
    stamp.write_text(mirror)
    return folder


class System:
    """A copy of the minimal system, mounted and ready to be entered."""

    def __init__(self, say, root, checkout):
        self.root = pathlib.Path(root)
        subprocess.run(["cp", "-a", "--reflink=auto", base(say), self.root], check=True)
        # A root that is no mount point is refused by unshare and missing from the list of file systems inside.
        self.mount("--bind", self.root, self.root)
        self.mount("-t", "proc", "proc", self.root / "proc")
        self.mount("--rbind", "/sys", self.root / "sys")
        self.mount("--rbind", "/dev", self.root / "dev")
        self.mount("-t", "tmpfs", "tmpfs", self.root / "run")
        for name in NETWORK_FILES:
            self.copy(name)
        (self.root / "etc/apt/sources.list").unlink(missing_ok=True)
        for file in source_files():
            self.copy(str(file).lstrip("/"))
        # It lives for minutes: dpkg need not wait for the disk after each file.
        (self.root / "etc/dpkg/dpkg.cfg.d/fresh").write_text("force-unsafe-io\n")
        npm = pathlib.Path.home() / ".npmrc"
        if npm.exists():
            shutil.copy(npm, self.root / "etc/npmrc")
        self.checkout = checkout
        self.environment = {"PATH": PATH, "LANG": "C.UTF-8", "TERM": "xterm",
                            **{key: value for key, value in os.environ.items() if NETWORK_VARIABLES.match(key)}}
        if (self.root / "etc/npmrc").exists():
            self.environment["npm_config_globalconfig"] = "/etc/npmrc"

    @staticmethod
    def mount(*words):
        subprocess.run(["mount", *words], check=True)

    def copy(self, name):
        source, target = pathlib.Path("/", name), self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        elif source.exists():
            shutil.copyfile(source, target)

    def inside(self, path):
        return self.root / str(path).lstrip("/")

    def enter(self, user="root", folder="/", environment=None):
        """Words to put before a command that shall run in there."""
        home = "/root" if user == "root" else f"/home/{user}"
        variables = {**self.environment, "HOME": home, "USER": user, "LOGNAME": user, "SHELL": "/bin/bash", **(environment or {})}
        settings = [f"{key}={value}" for key, value in variables.items()]
        return ["chroot", f"--userspec={user}", f"--groups={user}", self.root, "/usr/bin/env", "-i", *settings,
                "sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", folder]

    def run(self, *command, **options):
        subprocess.run([*self.enter(), *command], check=True, stdin=subprocess.DEVNULL, **options)

    def add_user(self, name):
        """A plain user who may use sudo without being asked for a password."""
        self.run("sh", "-c", "apt-get update -qq && apt-get install -y -qq --no-install-recommends sudo >/dev/null 2>&1")
        self.run("useradd", "--create-home", "--shell", "/bin/bash", name)
        (self.root / "etc/sudoers.d/newcomer").write_text(f"{name} ALL=(ALL) NOPASSWD: ALL\n")

    def clone(self, repository, user):
        """HEAD of a checkout, owned by the user."""
        target = self.inside(self.checkout)
        target.parent.mkdir(parents=True, exist_ok=True)
        if (repository / ".git").exists():
            # The checkout may belong to another user than root.
            trust = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
            subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", f"file://{repository}", target], check=True, env={**os.environ, **trust})
        else:  # an archive that somebody unpacked
            shutil.copytree(repository, target, symlinks=True, ignore=shutil.ignore_patterns("build", ".appmesh", ".cache"))
        if user != "root":
            self.run("chown", "-R", f"{user}:{user}", str(self.checkout))

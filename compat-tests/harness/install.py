"""What the tests need and the machine lacks: Debian packages, a Python environment, node modules and the
suite's source. Everything but the Debian packages goes to the scratch folder, and is kept there."""

import filecmp
import os
import shutil
import subprocess

from . import places

# command -> the Debian package that brings it
PACKAGES = {"redis-cli": "redis-tools", "redis-benchmark": "redis-tools", "redis-server": "redis-server",
            "tclsh": "tcl", "node": "nodejs", "npm": "npm"}


class InstallError(Exception):
    """Something is missing and could not be installed; the text says what to do."""


def call(argv, what, **options):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", **options)
    if done.returncode:
        raise InstallError(f"{what} failed ({' '.join(argv)}):\n{done.stdout[-2000:]}")
    return done.stdout


def commands(*names):
    """Make sure that these commands are there."""
    missing = [n for n in names if not shutil.which(n)]
    if not missing:
        return
    packages = sorted({PACKAGES[n] for n in missing})
    argv = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if os.geteuid() != 0:
        if not shutil.which("sudo") or subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode:
            raise InstallError(f"missing: {', '.join(missing)}; install them with: sudo {' '.join(argv)}")
        argv = ["sudo", "-n", *argv]
    # a server that a package starts by itself would take the port of the one under test
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    try:
        call(argv, "installing Debian packages", env=environment)
    except InstallError:
        call([*argv[:argv.index("install")], "update"], "apt-get update", env=environment)
        call(argv, "installing Debian packages", env=environment)


def suite():
    """-> the folder of redis 7.0's source, fetched when it is not there"""
    home = os.path.join(places.scratch(), "src")
    found = sorted(d for d in (os.listdir(home) if os.path.isdir(home) else [])
                   if os.path.isfile(os.path.join(home, d, "tests", "test_helper.tcl")))
    if not found:
        script = os.path.join(places.HERE, "get-redis-source")
        lines = call([script, home], "fetching redis's source package").split()
        return lines[-1].rstrip("/")
    return os.path.join(home, found[-1])


def same(one, other):
    return os.path.isfile(other) and filecmp.cmp(one, other, shallow=False)


def python():
    """-> the interpreter of a virtual environment that has clients/requirements.txt"""
    folder = os.path.join(places.scratch(), "venv")
    wanted = os.path.join(places.HERE, "clients", "requirements.txt")
    stamp = os.path.join(folder, "requirements.txt")
    interpreter = os.path.join(folder, "bin", "python")
    if not (os.path.exists(interpreter) and same(wanted, stamp)):
        shutil.rmtree(folder, ignore_errors=True)
        try:
            call(["python3", "-m", "venv", folder], "making a Python environment")
        except InstallError:
            shutil.rmtree(folder, ignore_errors=True)
            PACKAGES["ensurepip"] = "python3-venv"
            commands("ensurepip")
            call(["python3", "-m", "venv", folder], "making a Python environment")
        call([interpreter, "-m", "pip", "install", "--quiet", "-r", wanted], "installing Python packages")
        shutil.copy(wanted, stamp)
    return interpreter


def node(name):
    """-> a folder with the client's tests beside its installed modules"""
    commands("node", "npm")
    source = os.path.join(places.HERE, "clients", name)
    folder = os.path.join(places.scratch(), "node", name)
    os.makedirs(folder, exist_ok=True)
    lock, stamp = os.path.join(source, "package-lock.json"), os.path.join(folder, "installed-lock.json")
    for f in os.listdir(source):
        if os.path.isfile(os.path.join(source, f)):
            shutil.copy(os.path.join(source, f), folder)
    shutil.copy(os.path.join(places.HERE, "clients", "node-support.js"), folder)
    if not same(lock, stamp):
        call(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], "npm ci", cwd=folder)
        shutil.copy(lock, stamp)
    return folder

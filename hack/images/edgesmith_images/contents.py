"""What of Debian goes into the base that our programs run on: an image's worth of files, chosen by path."""

from __future__ import annotations

from fnmatch import fnmatchcase

# * crosses slashes. A folder is made when something in it is kept, or when it is named here itself.
_WANTED = (
    "dev",
    "etc/debian_version",
    "etc/host.conf",
    "etc/os-release",
    "etc/protocols",
    "etc/python3.11*",
    "etc/services",
    "etc/ssl/openssl.cnf",
    "home",
    "lib/*-linux-gnu/*.so*",
    "lib/ld-linux*",
    "lib64/*",
    "proc",
    "root",
    "run",
    "sys",
    "tmp",
    "usr/bin/python3.11",
    "usr/lib/*-linux-gnu/*.so*",
    "usr/lib/os-release",
    "usr/lib/python3.11/*",
    "usr/lib/ssl/cert.pem",
    "usr/lib/ssl/certs",
    "usr/lib/ssl/openssl.cnf",
    "usr/share/ca-certificates/mozilla/*.crt",
    "usr/share/common-licenses*",
    "usr/share/doc/*",  # some are links to the folder that holds the copyright file
    "var/lib/dpkg/status.d/*",
    "var/tmp",
)

_LIBRARIES = (
    # Of programs that are not there: dpkg, tar, debconf.
    *("libacl", "libmd", "libpcre2-8", "libselinux", "libzstd"),
    # Of Python modules that are not there: curses, readline, dbm, sqlite3, nis with its Kerberos.
    *("libdb-5.3", "libformw", "libhistory", "libmenuw", "libncursesw", "libpanelw", "libreadline", "libtic"),
    *("libtinfo", "libsqlite3", "libcom_err", "libgssapi_krb5", "libk5crypto", "libkeyutils", "libkrb5"),
    *("libkrb5support", "libnsl", "libtirpc"),
    # Of the C library, for debuggers and for NIS.
    *("libBrokenLocale", "libc_malloc_debug", "libmemusage", "libnss_compat", "libnss_hesiod", "libpcprofile"),
    *("libmvec", "libthread_db"),
    "libexpatw",
)

_MODULES = (
    *("__phello__", "curses", "dbm", "distutils", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "sqlite3", "test"),
    *("tkinter", "turtledemo", "venv", "wsgiref", "xmlrpc"),
    *("antigravity.py", "mailbox.py", "nntplib.py", "smtpd.py", "this.py", "turtle.py"),
)

_EXTENSIONS = (
    *("_codecs_cn", "_codecs_hk", "_codecs_jp", "_codecs_kr", "_codecs_tw", "_ctypes_test", "_curses", "_curses_panel"),
    *("_dbm", "_sqlite3", "_testbuffer", "_testcapi", "_testclinic", "_testimportmultiple", "_testinternalcapi"),
    *("_testmultiphase", "_xxsubinterpreters", "_xxtestfuzz", "audioop", "nis", "ossaudiodev", "readline"),
    *("xxlimited", "xxlimited_35"),
)

_UNWANTED = (
    "usr/lib/*/gconv/*",  # iconv's tables; Python has its own codecs
    "usr/lib/*/engines-3/*",
    "usr/lib/*/krb5/*",
    "usr/lib/*/perl*",
    "usr/lib/*/audit/*",
    *(f"*-linux-gnu/{name}.so*" for name in _LIBRARIES),
    *(f"*-linux-gnu/{name}-*.so*" for name in _LIBRARIES),
    *(f"usr/lib/python3.11/{name}" for name in _MODULES),
    *(f"usr/lib/python3.11/{name}/*" for name in _MODULES),
    *(f"usr/lib/python3.11/lib-dynload/{name}.cpython-*" for name in _EXTENSIONS),
)

_ONLY_READ = ("dev/", "usr/share/doc/", "usr/share/locale/", "usr/share/man/")

PATTERNS = (_WANTED, _UNWANTED, _ONLY_READ)
"""All that decides what is taken, for the key of the cache."""


def wanted(path: str) -> bool:
    """Says whether a path of the unpacked Debian packages goes into the base.

    Args:
        path: Without a leading slash.

    Returns:
        True for what Python and the locked wheels need to run, and for licences.
    """
    folder, _, name = path.rpartition("/")
    if folder.startswith("usr/share/doc/") and name != "copyright":
        return False
    return any(fnmatchcase(path, pattern) for pattern in _WANTED) and not any(
        fnmatchcase(path, pattern) for pattern in _UNWANTED
    )


def wanted_to_build(path: str) -> bool:
    """Says whether a path goes into the image that the first stages run in, which is never shipped.

    Args:
        path: Without a leading slash.

    Returns:
        True for all but devices and what only people read.
    """
    return not path.startswith(_ONLY_READ)

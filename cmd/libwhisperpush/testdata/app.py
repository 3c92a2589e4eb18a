"""The same app as app.c, in Python with nothing but ctypes."""
import ctypes
import json
import sys

library, settings, routes = sys.argv[1:]
wp = ctypes.CDLL(library)
Text = ctypes.POINTER(ctypes.c_char)
Show = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)
Badge = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)


class Screen(ctypes.Structure):
    _fields_ = [("context", ctypes.c_void_p), ("show", Show), ("remove", Show), ("set_badge", Badge)]


wp.wp_open.restype = ctypes.c_void_p
wp.wp_open.argtypes = [ctypes.c_char_p, ctypes.POINTER(Screen), ctypes.POINTER(Text)]
wp.wp_call.restype = Text
wp.wp_call.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(Text)]
wp.wp_receive.restype = Text
wp.wp_receive.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.POINTER(Text)]
wp.wp_close.argtypes = [ctypes.c_void_p, ctypes.POINTER(Text)]
wp.wp_free.argtypes = [Text]


def text(given):
    value = ctypes.cast(given, ctypes.c_char_p).value.decode() if given else ""
    wp.wp_free(given)
    return value


def ask(function, *arguments):
    error = Text()
    answer = function(*arguments, ctypes.byref(error))
    if error:
        sys.exit(text(error))
    return answer


def shown(_, notification):
    print("show", notification.decode())
    return 0


def removed(_, message):
    print("remove", message.decode())
    return 0


def badge(_, count):
    print("badge", count)
    return 0


screen = Screen(None, Show(shown), Show(removed), Badge(badge))
phone = ask(wp.wp_open, settings.encode(), ctypes.byref(screen))
print("registered", text(ask(wp.wp_call, phone, b"register", routes.encode())), flush=True)
for line in sys.stdin:
    push = line.strip().encode()
    answer = text(ask(wp.wp_receive, phone, b"fcm", push, len(push)))
    assert json.loads(answer)["ours"]
    print("received", answer, flush=True)
print("me", text(ask(wp.wp_call, phone, b"me", b"")))
ask(wp.wp_close, phone)

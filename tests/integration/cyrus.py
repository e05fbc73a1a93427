"""Cyrus SASL's own client library against a TSP server, over TCP or TLS (RFC 5572 s4.4.2).

As a program it runs one login and prints what came of it as JSON, so that a test can start it in a
network namespace and with a Kerberos configuration of its own:
    cyrus.py '{"host": ..., "port": ..., "mechanism": ..., "user": ..., "password": ...}'
Further keys: realm; tls: {ca, certificate, key}; service-host; layer: the SSF that the client
demands."""

import base64
import ctypes
import json
import socket
import ssl
import sys

SASL_OK, SASL_CONTINUE = 0, 1
CB_LIST_END, CB_USER, CB_AUTHNAME, CB_PASS, CB_GETREALM = 0, 0x4001, 0x4002, 0x4004, 0x4008
SASL_SSF, SASL_SEC_PROPS, SASL_SUCCESS_DATA = 1, 101, 4


class Callback(ctypes.Structure):
    _fields_ = [("id", ctypes.c_ulong), ("proc", ctypes.c_void_p), ("context", ctypes.c_void_p)]


class Properties(ctypes.Structure):
    _fields_ = [("min_ssf", ctypes.c_uint), ("max_ssf", ctypes.c_uint),
                ("max_buffer", ctypes.c_uint), ("flags", ctypes.c_uint),
                ("names", ctypes.c_void_p), ("values", ctypes.c_void_p)]


class Client:
    def __init__(self, host, user="", password="", realm="", layer=0):
        self.library = ctypes.CDLL("libsasl2.so.2")
        self.library.sasl_client_init(None)
        self.texts = {"user": ctypes.create_string_buffer(user.encode()),
                      "realm": ctypes.create_string_buffer(realm.encode())}
        secret = password.encode()
        # sasl_secret_t: a length and the bytes behind it.
        self.secret = ctypes.create_string_buffer(
            len(secret).to_bytes(ctypes.sizeof(ctypes.c_ulong), sys.byteorder) + secret + b"\0")
        self.kept = self.functions()
        self.callbacks = (Callback * 5)(
            Callback(CB_USER, self.kept[0], None), Callback(CB_AUTHNAME, self.kept[0], None),
            Callback(CB_PASS, self.kept[1], None), Callback(CB_GETREALM, self.kept[2], None),
            Callback(CB_LIST_END, None, None))
        self.connection = ctypes.c_void_p()
        self.check(self.library.sasl_client_new(b"tsp", host.encode(), None, None, self.callbacks,
                                                SASL_SUCCESS_DATA, ctypes.byref(self.connection)))
        # What the client would take at most, so that it is the server which wants no layer.
        properties = Properties(layer, 256, 65536, 0, None, None)
        self.check(self.library.sasl_setprop(self.connection, SASL_SEC_PROPS,
                                             ctypes.byref(properties)))
        self.status = SASL_CONTINUE

    def functions(self):
        text, size = ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_uint)

        @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, text, size)
        def get_user(_context, _id, result, length):
            result[0] = ctypes.addressof(self.texts["user"])
            if length:
                length[0] = len(self.texts["user"].value)
            return SASL_OK

        @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, text)
        def get_password(_connection, _context, _id, result):
            result[0] = ctypes.addressof(self.secret)
            return SASL_OK

        @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, text)
        def get_realm(_context, _id, _available, result):
            result[0] = ctypes.addressof(self.texts["realm"])
            return SASL_OK

        self.objects = (get_user, get_password, get_realm)
        return [ctypes.cast(function, ctypes.c_void_p) for function in self.objects]

    def check(self, status):
        self.status = status
        if status not in (SASL_OK, SASL_CONTINUE):
            self.library.sasl_errdetail.restype = ctypes.c_char_p
            raise PermissionError(self.library.sasl_errdetail(self.connection).decode())

    def start(self, mechanism):
        output, size = ctypes.c_void_p(), ctypes.c_uint()
        self.check(self.library.sasl_client_start(
            self.connection, mechanism.encode(), None, ctypes.byref(output), ctypes.byref(size),
            ctypes.byref(ctypes.c_char_p())))
        return ctypes.string_at(output, size.value) if output.value else None

    def step(self, challenge):
        output, size = ctypes.c_void_p(), ctypes.c_uint()
        self.check(self.library.sasl_client_step(
            self.connection, challenge, len(challenge), None, ctypes.byref(output),
            ctypes.byref(size)))
        return ctypes.string_at(output, size.value) if output.value else b""

    def layer(self):
        value = ctypes.c_void_p()
        self.check(self.library.sasl_getprop(self.connection, SASL_SSF, ctypes.byref(value)))
        return ctypes.cast(value, ctypes.POINTER(ctypes.c_uint))[0]


def connect(wanted):
    stream = socket.create_connection((wanted["host"], wanted["port"]), timeout=10)
    if "tls" not in wanted:
        return stream
    context = ssl.create_default_context(cafile=wanted["tls"]["ca"])
    if "certificate" in wanted["tls"]:
        context.load_cert_chain(wanted["tls"]["certificate"], wanted["tls"]["key"])
    return context.wrap_socket(stream, server_hostname=wanted["host"])


def log_in(wanted):
    mechanism = wanted["mechanism"]
    client = Client(wanted.get("service-host", wanted["host"]), wanted.get("user", ""),
                    wanted.get("password", ""), wanted.get("realm", ""), wanted.get("layer", 0))
    with connect(wanted) as connection, connection.makefile("rwb") as stream:
        def say(line):
            stream.write(line + b"\r\n")
            stream.flush()

        say(b"VERSION=2.0.0")
        outcome = {"capability": stream.readline().decode().strip(), "rounds": 0, "layer": 0}
        try:
            initial = client.start(mechanism)
            say(b"AUTHENTICATE " + mechanism.encode())
            if mechanism == "PLAIN":
                say(initial)
            elif mechanism != "ANONYMOUS" and initial is not None:
                say(base64.b64encode(initial))
            while True:
                line = stream.readline().strip()
                if line[:3].isdigit() and line[3:4] in (b" ", b""):
                    break
                outcome["rounds"] += 1
                answer = client.step(base64.b64decode(line))
                # Behind the proof of DIGEST-MD5 and SCRAM the status follows at once (Figure 12).
                is_proof = client.status == SASL_OK and mechanism != "GSSAPI"
                if not is_proof:
                    say(base64.b64encode(answer))
            outcome["layer"] = client.layer() if client.status == SASL_OK else 0
        except PermissionError as refusal:
            return {**outcome, "status": 0, "client-refused": str(refusal)}
        return {**outcome, "status": int(line[:3] or 0), "verified": client.status == SASL_OK}


if __name__ == "__main__":
    print(json.dumps(log_in(json.loads(sys.argv[1]))))

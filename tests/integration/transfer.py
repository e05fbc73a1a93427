"""A TCP connection through the tunnel that is watched while things happen to it."""

import socket
import threading

import campus as c


class Transfer:
    """A TCP connection from the client to the IPv4 side that echoes a counter for as long as it
    is asked to; `progress` is how many round trips have been made."""

    def __init__(self, campus):
        self.progress = 0
        self.error = None
        self.stopping = False
        self.listener = campus.web.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.bind((c.WEB, 0))
        self.listener.listen()
        port = self.listener.getsockname()[1]
        threading.Thread(target=self.echo, daemon=True).start()
        self.connection = campus.client.connect(c.WEB, port, timeout=30)
        self.thread = threading.Thread(target=self.pump, daemon=True)
        self.thread.start()

    def echo(self):
        connection, _ = self.listener.accept()
        with connection:
            try:
                while part := connection.recv(1 << 16):
                    connection.sendall(part)
            except OSError:
                pass

    def pump(self):
        payload = bytes(4096)
        try:
            while not self.stopping:
                self.connection.sendall(payload)
                received = 0
                while received < len(payload):
                    part = self.connection.recv(1 << 16)
                    if not part:
                        raise OSError("the connection was closed")
                    received += len(part)
                self.progress += 1
        except OSError as error:
            self.error = error

    def must_progress(self, what, timeout=10.0):
        before = self.progress
        c.wait_for(f"the transfer goes on {what} ({self.error})",
                   lambda: self.progress > before + 20, timeout)

    def must_stand(self, what, timeout=10.0):
        def stands():
            before = self.progress
            return not self.thread.join(0.3) and self.progress == before

        c.wait_for(f"the transfer stands still {what}", stands, timeout)

    def close(self):
        self.stopping = True
        self.thread.join(5)
        self.connection.close()
        self.listener.close()

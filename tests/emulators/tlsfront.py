#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# A proxy for clients whose server address is built in: whatever host they CONNECT to, they meet the emulator, behind a certificate
# that a throw-away authority signs for the names given.
# usage: tlsfront.py FOLDER EMULATOR_PORT NAME...      (writes FOLDER/ca.pem, prints "listening on 127.0.0.1:PORT")
import ctypes
import signal
import socket
import ssl
import subprocess
import sys
import threading

folder, port, names = sys.argv[1], int(sys.argv[2]), sys.argv[3:]


def openssl(*args):
    subprocess.run(("openssl",) + args, check=True, capture_output=True)


def certificates():
    ca, key, cert = f"{folder}/ca", f"{folder}/front.key", f"{folder}/front.pem"
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=weir tests", "-keyout", ca + ".key", "-out", ca + ".pem")
    openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=" + names[0], "-keyout", key, "-out", cert + ".req")
    with open(cert + ".ext", "w") as f:
        f.write("subjectAltName=" + ",".join("DNS:" + n for n in names) + "\n")
    openssl("x509", "-req", "-days", "2", "-in", cert + ".req", "-CA", ca + ".pem", "-CAkey", ca + ".key", "-CAcreateserial",
            "-extfile", cert + ".ext", "-out", cert)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


def pump(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    for s in (source, target):
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def relay(client, context):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = client.recv(1)
        if not byte:
            return
        head += byte
    if not head.startswith(b"CONNECT "):
        client.sendall(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
        return
    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
    inside = context.wrap_socket(client, server_side=True)
    outside = socket.create_connection(("127.0.0.1", port))
    # One thread reads, one writes; a TLS socket allows that as long as each direction has one.
    threading.Thread(target=pump, args=(outside, inside), daemon=True).start()
    pump(inside, outside)


def serve(client, context):
    try:
        with client:
            relay(client, context)
    except OSError:
        pass


def main():
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: ends with the test that started it
    context = certificates()
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"listening on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=serve, args=(client, context), daemon=True).start()


main()

#!/usr/bin/env python3
"""Compares processor time per request, rate and p99 of turnwheel and nginx in one interleaved run.

    cargo build --release && compare/against-nginx.py            # needs nginx and wrk
    compare/against-nginx.py --rounds 5 --seconds 4 --connections 32 --body 35 \
        'turnwheel 8=--workers 8' 'turnwheel 64=--workers 64' 'other build=@path/to/binary --workers 8'

Two nginx servers are the backends. wrk loads each contender in turn, round after round. Prints the
median, the minimum and the maximum over the rounds, and the ratio to nginx. All programs listen on
127.0.0.1 and end with the script.
"""
import argparse, os, re, shlex, signal, socket, statistics, subprocess, tempfile, time

TICK = os.sysconf("SC_CLK_TCK")
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def nginx(folder, name, http, workers):
    """Starts an nginx in the foreground, in its own directory."""
    root = os.path.join(folder, name)
    os.makedirs(root)
    paths = "".join(f"{kind}_temp_path {root}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    user = "user root;" if os.getuid() == 0 else ""  # otherwise its workers cannot enter the directory
    with open(f"{root}/nginx.conf", "w") as f:
        f.write(f"""{user} daemon off; worker_processes {workers}; pid {root}/pid; error_log {root}/error.log;
            events {{ worker_connections 4096; }}
            http {{ access_log off; keepalive_requests 1000000000; {paths} {http} }}""")
    return subprocess.Popen(["nginx", "-p", root, "-e", f"{root}/error.log", "-c", f"{root}/nginx.conf"])


def family(pid):
    """Returns the IDs of a process and its children."""
    pids = [pid]
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/children") as f:
                pids += map(int, f.read().split())
        except (FileNotFoundError, ProcessLookupError):
            pass  # the thread has ended
    return pids


def used(pid):
    """Returns the processor time in seconds and the context switches of a process and its children."""
    seconds, switches = 0.0, 0
    for p in family(pid):
        with open(f"/proc/{p}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        seconds += (int(fields[11]) + int(fields[12])) / TICK
        for task in os.listdir(f"/proc/{p}/task"):
            try:
                with open(f"/proc/{p}/task/{task}/status") as f:
                    switches += sum(int(n) for n in re.findall(r"ctxt_switches:\s+(\d+)", f.read()))
            except (FileNotFoundError, ProcessLookupError):
                pass  # the thread has ended
    return seconds, switches


def wait_for(port):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"nothing listens on port {port}")


def milliseconds(text):
    value, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()
    return float(value) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def measure(pid, port, args, path):
    before, switches = used(pid)
    out = subprocess.run(
        ["wrk", "-t1", f"-c{args.connections}", f"-d{args.seconds}s", "--latency", f"http://127.0.0.1:{port}{path}"],
        capture_output=True, text=True, check=True).stdout
    after, switches_after = used(pid)
    requests = int(re.search(r"(\d+) requests in", out).group(1))
    errors = re.search(r"(Non-2xx|Socket errors).*", out)
    return {
        "rate": float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)),
        "p99": milliseconds(re.search(r"(?m)^\s+99%\s+(\S+)", out).group(1)),
        "cpu": (after - before) / requests * 1e6,
        "switches": (switches_after - switches) / requests,
        "errors": errors.group(0) if errors else "",
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--body", type=int, default=35, help="bytes of each reply")
    parser.add_argument("--nginx-workers", default="auto", help="worker processes of the proxying nginx")
    parser.add_argument("contenders", nargs="*", default=["turnwheel 8=--workers 8"], help="NAME=[@BINARY] FLAGS")
    args = parser.parse_args()
    started, contenders = [], {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            ports = [free_port() for _ in range(3)]
            os.makedirs(f"{folder}/www")
            with open(f"{folder}/www/body", "wb") as f:
                f.write(b"x" * args.body)
            os.chmod(folder, 0o755)
            servers = "".join(f"server {{ listen 127.0.0.1:{p} backlog=4096; root {folder}/www; }}" for p in ports[:2])
            started.append(nginx(folder, "backends", f"sendfile on; open_file_cache max=10; tcp_nopush off; {servers}", 1))
            upstream = "".join(f"server 127.0.0.1:{p};" for p in ports[:2])
            proxy = nginx(folder, "proxy", f"""upstream b {{ {upstream} keepalive 64; keepalive_requests 1000000000; }}
                server {{ listen 127.0.0.1:{ports[2]} backlog=4096; location / {{ proxy_pass http://b;
                    proxy_max_temp_file_size 0; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}""", args.nginx_workers)
            started.append(proxy)
            contenders["nginx"] = (proxy.pid, ports[2])
            for contender in args.contenders:
                name, flags = contender.split("=", 1)
                flags = shlex.split(flags)
                binary = flags.pop(0)[1:] if flags and flags[0].startswith("@") else f"{HERE}/target/release/turnwheel"
                port = free_port()
                command = [binary, "serve", "--listen", f"127.0.0.1:{port}", *flags]
                for backend in ports[:2]:
                    command += ["--backend", f"http://127.0.0.1:{backend}"]
                process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "RUST_LOG": "warn"})
                started.append(process)
                contenders[name] = (process.pid, port)
            for port in ports[:2] + [port for _, port in contenders.values()]:
                wait_for(port)
            rows = {name: [] for name in contenders}
            for round_ in range(args.rounds + 1):
                for name, (pid, port) in contenders.items():
                    row = measure(pid, port, args, "/body")
                    if round_:  # the first one warms up
                        rows[name].append(row)
        finally:
            for process in started:
                process.send_signal(signal.SIGTERM)
            for process in started:
                process.wait(20)
    print(f"{args.connections} connections, {args.body} bytes, {args.rounds} rounds of {args.seconds} s: median (least–most)")
    middle = lambda rows, key: statistics.median(row[key] for row in rows)
    for name, results in rows.items():
        cells = []
        for key, form in (("rate", "{:.0f}"), ("p99", "{:.2f}"), ("cpu", "{:.1f}"), ("switches", "{:.2f}")):
            values = [row[key] for row in results]
            spread = f"{form.format(min(values))}–{form.format(max(values))}"
            ratio = middle(results, key) / max(middle(rows["nginx"], key), 1e-9)
            cells.append(f"{key} {form.format(middle(results, key))} ({spread}) ×{ratio:.2f}")
        errors = next((row["errors"] for row in results if row["errors"]), "")
        print(f"{name:>14}: " + " | ".join(cells) + (f" | {errors}" if errors else ""))


if __name__ == "__main__":
    main()

/**
 * `bun test/tools/zookeeper-image.ts [TAG]`: an image with what Debian's `zookeeper` package has installed on this
 * machine, and an entry point that takes what the official image's takes: for clusters that cannot pull that one.
 */
import { realpathSync } from "node:fs";
import { fail, findBuilder, RootFs, run } from "./rootfs.ts";

const tag = process.argv[2] ?? "docker.io/library/zookeeper:3.9";
const jar = "/usr/share/java/zookeeper.jar";

/** ZOO_MY_ID, ZOO_SERVERS and ZK_SERVER_HEAP, as the official image has them. */
const entrypoint = `#!/bin/sh
set -e
{
  printf 'tickTime=2000\\ninitLimit=10\\nsyncLimit=5\\ndataDir=/data\\ndataLogDir=/datalog\\n'
  printf 'admin.enableServer=false\\n4lw.commands.whitelist=*\\nmaxClientCnxns=0\\nautopurge.purgeInterval=1\\n'
  for line in $ZOO_CFG_EXTRA; do echo "$line"; done
  for server in $ZOO_SERVERS; do echo "$server"; done
} > /tmp/zoo.cfg
echo "$ZOO_MY_ID" > /data/myid
exec /java/bin/java "-Xmx\${ZK_SERVER_HEAP:-256}m" -Djava.io.tmpdir=/tmp -cp '/usr/share/java/*' \\
  org.apache.zookeeper.server.quorum.QuorumPeerMain /tmp/zoo.cfg
`;

const java = realpathSync(Bun.which("java") ?? fail("java is missing: on Debian, apt install zookeeper"));
const builder = findBuilder();
const files = new RootFs();
try {
  files.add(java.slice(0, java.lastIndexOf("/bin/")), "/java");
  const classPath = run(["unzip", "-p", jar, "META-INF/MANIFEST.MF"]).replace(/\r?\n /g, "");
  const jars = classPath.match(/\/usr\/share\/java\/[\w.-]+\.jar/g) ?? [];
  const netty = ["codec", "resolver"].map((part) => `/usr/share/java/netty-${part}.jar`);
  for (const path of [jar, ...jars, ...netty]) files.add(path);
  files.add(realpathSync("/bin/sh"), "/bin/sh");
  files.addLibraries();
  files.write("/docker-entrypoint.sh", entrypoint, 0o755);
  files.write("/etc/passwd", "zookeeper:x:1000:1000::/data:/bin/sh\n");
  files.makeOpen("/data", "/datalog", "/tmp");
  files.write("/Dockerfile", "FROM scratch\nCOPY . /\nUSER 1000:1000\n");
  run([builder, "build", "--tag", tag, "--file", `${files.folder}/Dockerfile`, files.folder]);
  console.log(`${tag}  ${(files.bytes / 1e6).toFixed(0)} MB; built by ${builder}`);
} finally {
  files.remove();
}

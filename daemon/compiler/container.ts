/** A container node -> what runs in its namespace, and the ports that its machine offers for it. */
import type { ContainerSpec, PublishSpec } from "../plan/resource.ts"
import type { Path, Reporter } from "../topology/diagnostic.ts"
import type { Container, Node, Topology } from "../topology/model.ts"

export const containerSpec = (node: string, container: Container): ContainerSpec => {
  const { cmd, cpu, entrypoint, healthcheck, memory, user, waitFor } = container
  return {
    node,
    image: container.image.value,
    ...(cmd === undefined ? {} : { cmd }),
    ...(entrypoint === undefined ? {} : { entrypoint }),
    env: container.env,
    binds: container.binds,
    files: Object.fromEntries(container.files),
    ...(user === undefined ? {} : { user }),
    capAdd: container.capAdd,
    ...(cpu === undefined ? {} : { cpu }),
    ...(memory === undefined ? {} : { memory }),
    ...(healthcheck === undefined ? {} : { healthcheck }),
    ...(waitFor === undefined ? {} : { waitFor }),
    state: "running"
  }
}

/** `targets`: the node's addresses in text, without prefix length. */
export const publishSpecs = (
  node: string,
  container: Container,
  targets: ReadonlyArray<string>
): ReadonlyArray<{ readonly spec: PublishSpec; readonly path: Path }> =>
  container.published.map(({ value, path }) => {
    const { address = "", hostPort, port, protocol } = value
    return { spec: { node, protocol, address, hostPort, port, targets }, path }
  })

/** A container between networks that does not forward is more often a slip than a wish. */
export const warnOfRole = (node: Node, reporter: Reporter): void => {
  if (node.container === undefined || node.container.roleGiven || node.ports.length < 2) return
  const message =
    `the container has ${node.ports.length} interfaces and does not forward packets: write role: router if it should, else role: host`
  reporter.warning(node.path, message)
}

/** Two containers that may run on one machine cannot have one port of it. */
export const refuseSharedPorts = (topology: Topology, reporter: Reporter): void => {
  const taken = new Map<string, string>()
  for (const node of topology.nodes.values()) {
    for (const { value, path } of node.container?.published ?? []) {
      const key = `${node.host?.value ?? ""} ${value.address ?? ""} ${value.hostPort}/${value.protocol}`
      const other = taken.get(key)
      if (other !== undefined && other !== node.name) {
        reporter.error(path, `port ${value.hostPort}/${value.protocol} of the machine is published by ${other}, too`)
      }
      taken.set(key, node.name)
    }
  }
}

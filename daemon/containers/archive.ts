/**
 * Files as a tar archive, which is how Docker takes them: POSIX ustar (IEEE Std 1003.1, pax, "ustar Interchange Format").
 *
 * Regular files only, owned by root. Folders are not mentioned: Docker makes those that are missing, and leaves the others
 * as they are.
 */
export interface ArchivedFile {
  /** Absolute or relative; an absolute path loses its slash. At most 255 octets. */
  readonly path: string
  readonly content: Uint8Array
  readonly mode: number
}

const blockLength = 512
const nameLength = 100
const prefixLength = 155

/** The path as the header holds it; undefined when it does not fit. */
const split = (path: string): readonly [prefix: string, name: string] | undefined => {
  if (Buffer.byteLength(path) <= nameLength) return ["", path]
  for (let at = path.indexOf("/"); at >= 0; at = path.indexOf("/", at + 1)) {
    const [prefix, name] = [path.slice(0, at), path.slice(at + 1)]
    if (Buffer.byteLength(name) <= nameLength && Buffer.byteLength(prefix) <= prefixLength) return [prefix, name]
  }
  return undefined
}

const header = ({ content, mode, path }: ArchivedFile): Buffer => {
  const relative = path.replace(/^\/+/, "")
  const parts = split(relative)
  if (parts === undefined) throw new RangeError(`the path ${path} is too long`)
  const block = Buffer.alloc(blockLength)
  const octal = (value: number, at: number, length: number): void => void block.write(value.toString(8).padStart(length - 1, "0"), at)
  block.write(parts[1], 0)
  octal(mode, 100, 8)
  octal(0, 108, 8)
  octal(0, 116, 8)
  octal(content.length, 124, 12)
  octal(0, 136, 12)
  // The checksum counts its own field as spaces.
  block.write(" ".repeat(8), 148)
  block.write("0", 156)
  block.write("ustar\0" + "00", 257)
  block.write(parts[0], 345)
  const sum = block.reduce((total, octet) => total + octet, 0)
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148)
  return block
}

/** @throws RangeError when a path is too long. */
export const archive = (files: ReadonlyArray<ArchivedFile>): Buffer =>
  Buffer.concat([
    ...files.flatMap((file) => {
      const padding = (blockLength - (file.content.length % blockLength)) % blockLength
      return [header(file), file.content, Buffer.alloc(padding)]
    }),
    Buffer.alloc(2 * blockLength)
  ])

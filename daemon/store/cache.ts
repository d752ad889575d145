/** A store that keeps what it has read: the daemon is the only writer, so nothing is read twice. */
import type { LabEntry, Store } from "./store.ts"

export const cached = async (store: Store): Promise<Store> => {
  const entries = new Map((await store.labs()).map((entry) => [entry.name, entry]))
  return {
    labs: async () => [...entries.values()],
    lab: async (name) => entries.get(name),
    put: async (entry) => {
      await store.put(entry)
      entries.set(entry.name, entry)
    },
    remembered: (name) => store.remembered(name),
    remember: (name, memory) => store.remember(name, memory),
    remove: async (name) => {
      await store.remove(name)
      entries.delete(name)
    },
    close: () => store.close()
  }
}

/**
 * Whether each of `wanting` can be given one of `offered` that nobody else has. Augmenting paths (Kuhn): at most
 * wanting · wanting · offered steps, where trying all assignments would take a factorial of them.
 */
export function hasMatching(
  wanting: number,
  offered: number,
  fits: (wants: number, offer: number) => boolean,
): boolean {
  if (wanting > offered) return false
  const edges = Array.from(
    { length: wanting },
    (_, wants) =>
      Array.from({ length: offered }, (_, offer) => offer).filter((offer) => fits(wants, offer)),
  )
  const owner = new Array<number>(offered).fill(-1)
  const place = (wants: number, seen: Set<number>): boolean => {
    for (const offer of edges[wants]!) {
      if (seen.has(offer)) continue
      seen.add(offer)
      if (owner[offer] === -1 || place(owner[offer]!, seen)) {
        owner[offer] = wants
        return true
      }
    }
    return false
  }
  return edges.every((_, wants) => place(wants, new Set()))
}

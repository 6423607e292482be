/** The permissions of a client without a user name by an access list. */
import { Acl } from "../../src/access/acl.ts";
import type { Permissions } from "../../src/access/permissions.ts";
import { finish } from "../../src/base/slices.ts";

export function permissionsBy(list: string): Permissions {
  return finish(Acl.read(list)).permissionsOf({ username: undefined, clientId: "c" });
}

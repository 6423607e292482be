/** The limits of logins and access: what is remembered, waited for and fetched to decide who may come in. */

/** Passwords that are being checked, or wait for that; a login beyond it is told to come later. */
export const loginsPendingMax = 10_000;
/** Logins that were right, remembered so that a device that comes back costs no slow hash. */
export const loginsCachedMax = 100_000;
/** How long it is remembered what a hook has allowed. */
export const hookCacheMs = 60_000;
/** The time in which a hook must answer. */
export const hookPatienceMs = 5_000;
/** The longest answer that is taken from a hook. */
export const hookAnswerBytesMax = 256 * 1024;
/** The most by which the clocks of those who issue tokens may differ from ours. */
export const tokenLeewayMs = 5_000;
/** The shortest secret that tokens may be signed with. */
export const tokenSecretBytesMin = 32;
/** The time in which a service must have told its keys, and how many bytes they may be. */
export const keySetPatienceMs = 5_000;
export const keySetBytesMax = 256 * 1024;
/** How long fetched keys count before they are fetched again; and at most, while nobody answers. */
export const keySetFreshMs = 600_000;
export const keySetStaleMs = 86_400_000;
/** How often keys are asked for where nobody has answered, or tokens name keys that are not known. */
export const keySetAskMs = 10_000;
/** Users with the networks from which they have logged in, which no ban of the user shuts out. */
export const knownLoginsMax = 100_000;
/** Addresses whose failed logins are remembered, and as many users. */
export const bansMax = 50_000;
/** Topics for which it is remembered what a client's own rules say of them, and their characters. */
export const topicsRememberedMax = 1_000;
export const topicsRememberedCharactersMax = 256 * 1024;
/** Topics for which it is remembered what rules say that all clients share, and their characters. */
export const sharedTopicsRememberedMax = 65_536;
export const sharedTopicsRememberedCharactersMax = 4 * 1024 * 1024;
/** Users whose clients share what is remembered of them. */
export const permissionsSharedMax = 10_000;
/** Lines of the operator's files that are read in one step: some hundred microseconds. */
export const linesPerStepMax = 128;
/** The longest file of lists of revoked certificates that is read. */
export const revocationFileBytesMax = 32 * 1024 * 1024;
/** How long before a list of revoked certificates ends that is told, at most: a quarter of its time if that is less. */
export const revocationEndNoticeMs = 3 * 86_400_000;
/** How long before a certificate of the broker's own ends that is told, at most: as with lists. */
export const certificateEndNoticeMs = 14 * 86_400_000;
/** How often it is told that a list or certificate will end; and that one has ended, which lets nobody in. */
export const revocationNoticeMs = 86_400_000;
export const revocationAlarmMs = 3_600_000;
/** How often it is looked whether the operator's files have changed; a change counts when it has stood so long. */
export const filesLookMs = 1_000;

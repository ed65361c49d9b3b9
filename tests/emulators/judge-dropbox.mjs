// SPDX-License-Identifier: Apache-2.0
// The Dropbox emulator judged by Dropbox's own SDK. Called by judge-dropbox.sh, which starts the emulator:
//   node judge-dropbox.mjs URL NODE_MODULES CLIENT_ID CLIENT_SECRET REFRESH_TOKEN CHAPTER [NOTES]
// Every chapter works in a folder of its own and ends with status 0 when all was as Dropbox documents it.
import { createRequire } from 'node:module';
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';

const [url, modules, clientId, clientSecret, refreshToken, chapter, notes] = process.argv.slice(2);
const require = createRequire(modules + '/');
const { Dropbox, DropboxAuth } = require('dropbox');
const nodeFetch = require('node-fetch');

// The SDK speaks to three hosts over https; here they are one port without it.
const seen = [];
function fetch(to, options) {
	const host = new URL(to).host;
	assert.match(host, /^(api|content|notify)\.dropboxapi\.com$/);
	seen.push(to);
	return nodeFetch(to.replace(`https://${host}`, url), options);
}
function client(more = {}) {
	return new Dropbox({ clientId, clientSecret, refreshToken, fetch, ...more });
}
const dbx = client();
const root = '/' + chapter;
const sha = (data) => createHash('sha256').update(data).digest();
function contentHash(data) {
	const blocks = [];
	for (let i = 0; i < data.length; i += 4 << 20)
		blocks.push(sha(data.subarray(i, i + (4 << 20))));
	return sha(Buffer.concat(blocks)).toString('hex');
}
// It fails with this status and a summary that begins so; returns the error's body.
async function refused(status, summary, promise) {
	try {
		await promise;
	} catch (e) {
		if (e.status === undefined)
			throw e;
		const said = typeof e.error === 'string' ? e.error : e.error.error_summary;
		assert.equal(e.status, status, said);
		assert.ok(said.startsWith(summary), `'${said}' does not begin with '${summary}'`);
		return e.error.error;
	}
	assert.fail(`was not refused with ${summary}`);
}
async function emu(verb) {
	const res = await nodeFetch(`${url}/_emu/${verb}`, { method: 'POST' });
	assert.equal(res.status, 200, await res.text());
}
async function behind(route, arg) {	// somebody else's doing
	const res = await nodeFetch(`${url}/_emu/raw/2/${route}`, { method: 'POST', body: JSON.stringify(arg), headers: { 'Content-Type': 'application/json' } });
	assert.equal(res.status, 200, await res.text());
}
const put = async (path, contents, more = {}) => (await dbx.filesUpload({ path: root + path, contents, ...more })).result;
const stat = async (path) => (await dbx.filesGetMetadata({ path: root + path })).result;
const gone = (path) => refused(409, 'path/not_found/', dbx.filesGetMetadata({ path: root + path }));
const get = async (path, who = dbx) => (await who.filesDownload({ path })).result;
async function all(page) {
	const entries = [...page.result.entries];
	while (page.result.has_more) {
		page = await dbx.filesListFolderContinue({ cursor: page.result.cursor });
		entries.push(...page.result.entries);
	}
	return { entries, cursor: page.result.cursor };
}
const names = (list) => list.entries.map((e) => e.name).sort();
const range = (n, f) => [...Array(n).keys()].map(f);

const chapters = {
	async account() {
		const { result } = await dbx.usersGetCurrentAccount();
		assert.match(result.account_id, /^dbid:.{35}/);
		assert.equal(result.root_info['.tag'], 'user');
		assert.equal(result.root_info.root_namespace_id, result.root_info.home_namespace_id);
		const space = (await dbx.usersGetSpaceUsage()).result;
		assert.equal(space.allocation['.tag'], 'individual');
		assert.equal((await dbx.checkUser({ query: 'weir' })).result.result, 'weir');
		await put('/a', Buffer.alloc(1000));
		assert.equal((await dbx.usersGetSpaceUsage()).result.used, space.used + 1000);
	},

	async pages() {
		await Promise.all(range(25, (i) => put(`/d/f${i}`, `${i}`)));
		await put('/d/sub/deep', 'x');
		const want = [...range(25, (i) => `f${i}`), 'sub'].sort();
		assert.deepEqual(names(await all(await dbx.filesListFolder({ path: root + '/d' }))), want);
		const first = await dbx.filesListFolder({ path: root + '/d', limit: 7 });
		assert.equal(first.result.entries.length, 7);
		assert.deepEqual(names(await all(first)), want);
		await emu('set?page_max=4&empty_pages=1');
		assert.deepEqual(names(await all(await dbx.filesListFolder({ path: root + '/D' }))), want);
		const deep = await all(await dbx.filesListFolder({ path: root + '/d', recursive: true }));
		assert.deepEqual(names(deep), ['d', 'deep', ...want].sort());
		await emu('reset');
		assert.equal(deep.entries.find((e) => e.name === 'deep').path_display, root + '/d/sub/deep');
		await refused(409, 'path/not_found/', dbx.filesListFolder({ path: root + '/nowhere' }));
		await refused(409, 'path/not_folder/', dbx.filesListFolder({ path: root + '/d/f1' }));
	},

	// What changes while one lists is told in later pages.
	async 'changes-while-listing'() {
		await Promise.all(range(9, (i) => put(`/f${i}`, `${i}`)));
		const first = await dbx.filesListFolder({ path: root, limit: 4 });
		await put('/f0', 'new', { mode: { '.tag': 'overwrite' } });
		await dbx.filesDeleteV2({ path: root + '/f1' });
		await put('/a-first', 'x');
		const now = new Map();
		for (const e of (await all(first)).entries) {
			if (e['.tag'] === 'deleted')
				now.delete(e.path_lower);
			else
				now.set(e.path_lower, e);
		}
		assert.deepEqual([...now.values()].map((e) => e.name).sort(), ['a-first', 'f0', ...range(7, (i) => `f${i + 2}`)]);
		assert.equal(now.get(root + '/f0').size, 3);
	},

	async upload() {
		const data = randomBytes(5 << 20), made = await put('/New Folder/Größe 😀.bin', data, { client_modified: '2021-02-03T04:05:06Z', mute: true });
		assert.equal(made.content_hash, contentHash(data));
		assert.equal(made['.tag'], undefined);
		assert.equal(made.client_modified, '2021-02-03T04:05:06Z');
		assert.equal(made.path_lower, root + '/new folder/größe 😀.bin');
		assert.match(made.rev, /^[0-9a-f]{9,}$/);
		const back = await get(root + '/NEW FOLDER/GRÖßE 😀.BIN');
		assert.ok(back.fileBinary.equals(data));
		assert.equal(back.name, 'Größe 😀.bin');
		assert.equal((await get(made.id)).rev, made.rev);
		assert.equal((await put('/empty', '')).content_hash, 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
		assert.equal((await get(root + '/empty')).fileBinary.length, 0);
		await put('/checked', 'hello', { content_hash: contentHash(Buffer.from('hello')) });
		await refused(409, 'content_hash_mismatch/', put('/checked2', 'hello', { content_hash: contentHash(Buffer.from('hullo')) }));
		await gone('/checked2');
	},

	async 'update-with-rev'() {
		const one = await put('/f', 'one'), two = await put('/f', 'two', { mode: { '.tag': 'update', update: one.rev } });
		assert.equal(two.id, one.id);
		assert.notEqual(two.rev, one.rev);
		await refused(409, 'path/conflict/file/', put('/f', 'three', { mode: { '.tag': 'update', update: one.rev } }));
		assert.equal((await stat('/f')).rev, two.rev);
		assert.equal((await get('rev:' + one.rev)).fileBinary.toString(), 'one');
		await dbx.filesDeleteV2({ path: root + '/f' });
		await refused(409, 'path/conflict/file/', put('/f', 'four', { mode: { '.tag': 'update', update: two.rev }, strict_conflict: true }));
		assert.notEqual((await put('/f', 'four', { mode: { '.tag': 'update', update: two.rev } })).id, one.id);
	},

	async conflicts() {
		const one = await put('/f', 'one', { client_modified: '2020-01-01T00:00:00Z' });
		const same = await put('/F', 'one', { client_modified: '2022-01-01T00:00:00Z' });
		assert.deepEqual(same, one);
		assert.deepEqual(await put('/f', 'one', { mode: { '.tag': 'overwrite' } }), one);
		await refused(409, 'path/conflict/file/', put('/f', 'one', { strict_conflict: true }));
		const e = await refused(409, 'path/conflict/file/', put('/f', 'two'));
		assert.equal(e.reason['.tag'], 'conflict');
		const kept = await dbx.filesUploadSessionFinish({ cursor: { session_id: e.upload_session_id, offset: 3 }, commit: { path: root + '/kept' }, contents: '' });
		assert.equal(kept.result.size, 3);
		assert.equal((await put('/f', 'two', { autorename: true })).name, 'f (1)');
		await dbx.filesCreateFolderV2({ path: root + '/dir' });
		await refused(409, 'path/conflict/folder/', put('/dir', 'x', { mode: { '.tag': 'overwrite' } }));
		await refused(409, 'path/conflict/file_ancestor/', put('/f/below', 'x'));
		await refused(409, 'path/conflict/folder/', dbx.filesCreateFolderV2({ path: root + '/DIR' }));
		await refused(409, 'path/conflict/file/', dbx.filesCreateFolderV2({ path: root + '/f' }));
		assert.equal((await dbx.filesCreateFolderV2({ path: root + '/dir', autorename: true })).result.metadata.name, 'dir (1)');
	},

	async 'session-sequential'() {
		const data = randomBytes(9 << 20), at = [0, 4 << 20, (4 << 20) + 1000, data.length - 5];
		const { session_id } = (await dbx.filesUploadSessionStart({ contents: data.subarray(at[0], at[1]) })).result;
		for (let i = 1; i < 3; i++)
			await dbx.filesUploadSessionAppendV2({ cursor: { session_id, offset: at[i] }, contents: data.subarray(at[i], at[i + 1]) });
		const e = await refused(409, 'incorrect_offset/', dbx.filesUploadSessionAppendV2({ cursor: { session_id, offset: at[2] }, contents: 'again' }));
		assert.equal(e.correct_offset, at[3]);
		const commit = { path: root + '/big', client_modified: '2019-01-01T00:00:00Z' };
		const e2 = await refused(409, 'lookup_failed/incorrect_offset/', dbx.filesUploadSessionFinish({ cursor: { session_id, offset: 1 }, commit, contents: '' }));
		assert.equal(e2.lookup_failed.correct_offset, at[3]);
		const made = (await dbx.filesUploadSessionFinish({ cursor: { session_id, offset: at[3] }, commit, contents: data.subarray(at[3]) })).result;
		assert.equal(made.content_hash, contentHash(data));
		assert.equal(made.client_modified, commit.client_modified);
		assert.ok((await get(root + '/big')).fileBinary.equals(data));
		await refused(409, 'lookup_failed/not_found/', dbx.filesUploadSessionFinish({ cursor: { session_id, offset: data.length }, commit, contents: '' }));
		await refused(409, 'not_found/', dbx.filesUploadSessionAppendV2({ cursor: { session_id: 'pid_upload_session:none', offset: 0 }, contents: 'x' }));
		const closed = (await dbx.filesUploadSessionStart({ close: true, contents: 'all' })).result.session_id;
		await refused(409, 'closed/', dbx.filesUploadSessionAppendV2({ cursor: { session_id: closed, offset: 3 }, contents: 'x' }));
	},

	async 'session-concurrent'() {
		const block = 4 << 20, data = randomBytes(3 * block + 77), commit = { path: root + '/big' };
		const { session_id } = (await dbx.filesUploadSessionStart({ session_type: { '.tag': 'concurrent' }, contents: '' })).result;
		const piece = (i, close) => dbx.filesUploadSessionAppendV2({ cursor: { session_id, offset: i * block }, close, contents: data.subarray(i * block, (i + 1) * block) });
		await Promise.all([piece(2), piece(0)]);
		await refused(409, 'concurrent_session_invalid_offset/', dbx.filesUploadSessionAppendV2({ cursor: { session_id, offset: 5 }, contents: data.subarray(0, block) }));
		await refused(409, 'concurrent_session_invalid_data_size/', dbx.filesUploadSessionAppendV2({ cursor: { session_id, offset: block }, contents: 'ragged' }));
		await refused(409, 'concurrent_session_not_closed/', dbx.filesUploadSessionFinish({ cursor: { session_id, offset: 0 }, commit, contents: '' }));
		await piece(1);
		await piece(3, true);
		await refused(409, 'concurrent_session_data_not_allowed/', dbx.filesUploadSessionFinish({ cursor: { session_id, offset: data.length }, commit, contents: 'x' }));
		const made = (await dbx.filesUploadSessionFinish({ cursor: { session_id, offset: data.length }, commit, contents: '' })).result;
		assert.equal(made.content_hash, contentHash(data));
		assert.ok((await get(root + '/big')).fileBinary.equals(data));
		await refused(409, 'concurrent_session_data_not_allowed/', dbx.filesUploadSessionStart({ session_type: { '.tag': 'concurrent' }, contents: 'x' }));
		const holes = (await dbx.filesUploadSessionStart({ session_type: { '.tag': 'concurrent' }, contents: '' })).result.session_id;
		await dbx.filesUploadSessionAppendV2({ cursor: { session_id: holes, offset: block }, close: true, contents: 'end' });
		await refused(409, 'concurrent_session_missing_data/', dbx.filesUploadSessionFinish({ cursor: { session_id: holes, offset: block + 3 }, commit, contents: '' }));
	},

	async batch() {
		const { session_ids } = (await dbx.filesUploadSessionStartBatch({ num_sessions: 3 })).result;
		for (const [i, session_id] of session_ids.entries())
			if (i < 2)
				await dbx.filesUploadSessionAppendV2({ cursor: { session_id, offset: 0 }, close: true, contents: `content ${i}` });
		const entries = session_ids.map((session_id, i) => ({ cursor: { session_id, offset: i < 2 ? 9 : 0 }, commit: { path: `${root}/b${i}` } }));
		const done = (await dbx.filesUploadSessionFinishBatchV2({ entries })).result.entries;
		assert.deepEqual(done.map((e) => e['.tag']), ['success', 'success', 'failure']);
		assert.equal(done[1].name, 'b1');
		assert.equal(done[2].failure.lookup_failed['.tag'], 'not_closed');
		assert.equal((await get(root + '/b1')).fileBinary.toString(), 'content 1');
		// The older, asynchronous form.
		await emu('set?async_ms=300');
		const one = (await dbx.filesUploadSessionStart({ close: true, contents: 'late' })).result.session_id;
		const job = (await dbx.filesUploadSessionFinishBatch({ entries: [{ cursor: { session_id: one, offset: 4 }, commit: { path: root + '/late' } }] })).result;
		assert.equal(job['.tag'], 'async_job_id');
		const check = () => dbx.filesUploadSessionFinishBatchCheck({ async_job_id: job.async_job_id });
		assert.equal((await check()).result['.tag'], 'in_progress');
		await new Promise((r) => setTimeout(r, 400));
		assert.equal((await check()).result.entries[0].name, 'late');
		await emu('reset');
	},

	async 'ranged-download'() {
		const data = randomBytes(100000);
		await put('/f', data);
		const part = await get(root + '/f', client({ customHeaders: { Range: 'bytes=1000-1999' } }));
		assert.ok(part.fileBinary.equals(data.subarray(1000, 2000)));
		assert.equal(part.size, data.length);
		assert.ok((await get(root + '/f', client({ customHeaders: { Range: 'bytes=99990-' } }))).fileBinary.equals(data.subarray(99990)));
		await refused(416, '', get(root + '/f', client({ customHeaders: { Range: 'bytes=100000-' } })));
		const res = await client({ customHeaders: { Range: 'bytes=0-0' } }).filesDownload({ path: root + '/f' });
		assert.equal(res.status, 206);
		assert.equal(res.headers.get('content-range'), 'bytes 0-0/100000');
		await refused(304, '', get(root + '/f', client({ customHeaders: { 'If-None-Match': res.headers.get('etag') } })));
		await refused(409, 'path/not_file/', get(root));
		const { link } = (await dbx.filesGetTemporaryLink({ path: root + '/f' })).result;
		assert.ok((await (await nodeFetch(link)).buffer()).equals(data));
	},

	async move() {
		const f = await put('/a/f', 'f');
		await put('/a/sub/g', 'g');
		const { metadata } = (await dbx.filesMoveV2({ from_path: root + '/a', to_path: root + '/New/A' })).result;
		assert.equal(metadata['.tag'], 'folder');
		assert.equal(metadata.path_display, root + '/New/A');
		await gone('/a/f');
		assert.equal((await stat('/new/a/f')).id, f.id);
		await put('/there', 'x');
		const move = (from, to) => dbx.filesMoveV2({ from_path: root + from, to_path: root + to });
		await refused(409, 'to/conflict/file/', move('/new/a/f', '/there'));
		await refused(409, 'to/conflict/folder/', move('/there', '/new'));
		await refused(409, 'to/conflict/file_ancestor/', move('/new', '/there/new'));
		await refused(409, 'cant_move_folder_into_itself/', move('/new', '/new/a/b'));
		await refused(409, 'from_lookup/not_found/', move('/nowhere', '/x'));
		await refused(409, 'duplicated_or_nested_paths/', move('/there', '/there'));
		assert.equal((await move('/there', '/THERE')).result.metadata.name, 'there');	// said to be done, and is not
		assert.equal((await stat('/there')).name, 'there');
		await emu('set?entries_max=3');
		await refused(409, 'too_many_files/', move('/new', '/other'));
		await emu('reset');
	},

	async copy() {
		const f = await put('/a/f', 'f', { client_modified: '2018-01-01T00:00:00Z' });
		await dbx.filesCopyV2({ from_path: root + '/a', to_path: root + '/b' });
		const g = await stat('/b/f');
		assert.notEqual(g.id, f.id);
		assert.equal(g.client_modified, f.client_modified);
		assert.equal((await get(root + '/b/f')).fileBinary.toString(), 'f');
		await refused(409, 'to/conflict/folder/', dbx.filesCopyV2({ from_path: root + '/a', to_path: root + '/b' }));
		assert.equal((await dbx.filesCopyV2({ from_path: root + '/a/f', to_path: root + '/b/f', autorename: true })).result.metadata.name, 'f (1)');
	},

	async delete() {
		const f = await put('/d/f', 'f');
		await put('/d/g', 'g');
		await refused(409, 'path_write/conflict/file/', dbx.filesDeleteV2({ path: root + '/d/f', parent_rev: '123456789abc' }));
		assert.equal((await dbx.filesDeleteV2({ path: root + '/d/f', parent_rev: f.rev })).result.metadata.id, f.id);
		await refused(409, 'path_lookup/not_found/', dbx.filesDeleteV2({ path: root + '/d/f' }));
		await dbx.filesDeleteV2({ path: root + '/d' });
		await gone('/d/g');
		await put('/x', 'x');
		const job = (await dbx.filesDeleteBatch({ entries: [{ path: root + '/x' }, { path: root + '/nothing' }] })).result;
		const { result } = await dbx.filesDeleteBatchCheck({ async_job_id: job.async_job_id });
		assert.deepEqual(result.entries.map((e) => e['.tag']), ['success', 'failure']);
		assert.equal(result.entries[0].metadata.name, 'x');
		assert.equal((await dbx.filesListFolder({ path: root, include_deleted: true })).result.entries.filter((e) => e['.tag'] === 'deleted').length, 2);
	},

	async revisions() {
		const one = await put('/f', 'one'), two = await put('/f', 'two', { mode: { '.tag': 'overwrite' } });
		const list = (await dbx.filesListRevisions({ path: root + '/f' })).result;
		assert.deepEqual(list.entries.map((e) => e.rev), [two.rev, one.rev]);
		assert.equal(list.is_deleted, false);
		await dbx.filesDeleteV2({ path: root + '/f' });
		assert.equal((await dbx.filesListRevisions({ path: root + '/f' })).result.is_deleted, true);
		await dbx.filesRestore({ path: root + '/f', rev: one.rev });
		assert.equal((await get(root + '/f')).fileBinary.toString(), 'one');
		await refused(409, 'invalid_revision/', dbx.filesRestore({ path: root + '/g', rev: one.rev }));
	},

	async longpoll() {
		await put('/seen', 'x');
		const { cursor } = (await dbx.filesListFolderGetLatestCursor({ path: root, recursive: true })).result;
		await emu('set?longpoll_max_ms=300');
		assert.equal((await dbx.filesListFolderLongpoll({ cursor, timeout: 30 })).result.changes, false);
		await emu('set?longpoll_max_ms=0&longpoll_backoff_s=7');
		const waiting = dbx.filesListFolderLongpoll({ cursor, timeout: 60 }), start = Date.now();
		setTimeout(() => behind('files/move_v2', { from_path: root + '/seen', to_path: root + '/deep/moved' }), 300);
		const { result } = await waiting;
		assert.equal(result.changes, true);
		assert.equal(result.backoff, 7);
		assert.ok(Date.now() - start < 10000);
		const page = (await dbx.filesListFolderContinue({ cursor })).result;
		assert.deepEqual(page.entries.map((e) => [e['.tag'], e.path_lower]),
			[['folder', root + '/deep'], ['deleted', root + '/seen'], ['file', root + '/deep/moved']]);
		assert.deepEqual((await dbx.filesListFolderContinue({ cursor: page.cursor })).result.entries, []);
		await emu('reset');
		await emu('set?cursor_reset_next=1');
		await refused(409, 'reset/', dbx.filesListFolderContinue({ cursor: page.cursor }));
		await refused(409, 'reset/', dbx.filesListFolderLongpoll({ cursor: page.cursor }));
		await emu('reset');
	},

	// Random changes; what a cursor tells, applied in order, makes a mirror equal to a fresh listing.
	async mirror() {
		const path = () => root + range(1 + Math.floor(Math.random() * 3), () => '/' + 'aAbBcC'[Math.floor(Math.random() * 6)]).join('');
		const attempts = [
			() => put(path().slice(root.length), `${Math.random() < 0.5}`, { mode: { '.tag': 'overwrite' } }),
			() => dbx.filesCreateFolderV2({ path: path() }),
			() => dbx.filesDeleteV2({ path: path() }),
			() => dbx.filesMoveV2({ from_path: path(), to_path: path() }),
			() => dbx.filesCopyV2({ from_path: path(), to_path: path() }),
		];
		const apply = (mirror, entries) => {
			for (const e of entries) {
				for (const key of [...mirror.keys()])
					if (e['.tag'] !== 'folder' && (key === e.path_lower || key.startsWith(e.path_lower + '/')))
						mirror.delete(key);
				if (e['.tag'] !== 'deleted')
					mirror.set(e.path_lower, `${e['.tag']} ${e.id} ${e.rev} ${e.name}`);
			}
		};
		const sorted = (mirror) => [...mirror].sort();
		const mirror = new Map();
		await dbx.filesCreateFolderV2({ path: root });
		let { entries, cursor } = await all(await dbx.filesListFolder({ path: root, recursive: true }));
		apply(mirror, entries);
		for (let round = 0; round < 60; round++) {
			for (let i = 0; i < 4; i++)
				await attempts[Math.floor(Math.random() * attempts.length)]().catch((e) => assert.equal(e.status, 409));
			({ entries, cursor } = await all(await dbx.filesListFolderContinue({ cursor })));
			apply(mirror, entries);
			const fresh = new Map();
			apply(fresh, (await all(await dbx.filesListFolder({ path: root, recursive: true, limit: 3 }))).entries);
			assert.deepEqual(sorted(mirror), sorted(fresh));
		}
	},

	// A shallow cursor tells direct children only.
	async 'shallow-cursor'() {
		await put('/sub/f', 'x');
		const { cursor } = (await dbx.filesListFolderGetLatestCursor({ path: root })).result;
		await put('/sub/g', 'y');
		await put('/h', 'z');
		assert.deepEqual((await dbx.filesListFolderContinue({ cursor })).result.entries.map((e) => e.name), ['h']);
	},

	async refresh() {
		const auth = new DropboxAuth({ clientId, clientSecret, refreshToken, fetch, accessToken: 'sl.u.of-yesterday', accessTokenExpiresAt: new Date(Date.now() - 1000) });
		const me = new Dropbox({ auth, fetch });
		seen.length = 0;
		await me.usersGetCurrentAccount();
		assert.equal(seen.filter((u) => u.includes('/oauth2/token')).length, 1);
		const first = auth.getAccessToken();
		assert.match(first, /^sl\.u\./);
		assert.ok(auth.getAccessTokenExpiresAt() > Date.now());
		await me.usersGetCurrentAccount();
		assert.equal(seen.filter((u) => u.includes('/oauth2/token')).length, 1);
		auth.setAccessTokenExpiresAt(new Date(Date.now() - 1000));
		await me.usersGetCurrentAccount();
		assert.notEqual(auth.getAccessToken(), first);
		await emu('set?oauth_expire_next=1');
		await refused(401, 'expired_access_token/', me.usersGetCurrentAccount());
		await emu('reset');
		await refused(401, 'invalid_access_token/', new Dropbox({ accessToken: 'sl.u.nobodys', fetch }).usersGetCurrentAccount());
		await refused(400, '', client({ refreshToken: 'nobodys' }).usersGetCurrentAccount().catch((e) => { e.error = e.error.error; throw e; }));
	},

	// The browser's part, by PKCE; then the token is revoked, and its refresh token with it.
	async 'sign-in'() {
		const auth = new DropboxAuth({ clientId, fetch });
		const page = await auth.getAuthenticationUrl('http://localhost:53682/', 'state1', 'code', 'offline', undefined, 'none', true);
		const res = await nodeFetch(page.replace(/^https:\/\/(www\.)?dropbox\.com/, url), { redirect: 'manual' });
		assert.equal(res.status, 302);
		const back = new URL(res.headers.get('location'));
		assert.equal(back.searchParams.get('state'), 'state1');
		const { result } = await auth.getAccessTokenFromCode('http://localhost:53682/', back.searchParams.get('code'));
		assert.equal(result.expires_in, 14400);
		auth.setAccessToken(result.access_token);
		auth.setRefreshToken(result.refresh_token);
		const me = new Dropbox({ auth, fetch });
		assert.equal((await me.usersGetCurrentAccount()).result.account_id, result.account_id);
		auth.setAccessTokenExpiresAt(new Date(Date.now() - 1000));
		await me.usersGetCurrentAccount();
		await me.authTokenRevoke();
		await refused(401, 'invalid_access_token/', me.usersGetCurrentAccount());
		await dbx.usersGetCurrentAccount();	// other people's tokens live on
	},

	async errors() {
		const rpc = async (route, body, headers = {}) => {
			const res = await nodeFetch(`${url}/2/${route}`, { method: 'POST', body, headers: { Authorization: `Bearer ${dbx.auth.getAccessToken()}`, ...headers } });
			return [res.status, await res.text()];
		};
		const json = { 'Content-Type': 'application/json' };
		await dbx.usersGetCurrentAccount();
		for (const [route, body, headers, want] of [
			['files/list_folder', '{"path":""}', { 'Content-Type': 'application/x-www-form-urlencoded' }, /Bad HTTP "Content-Type" header/],
			['files/list_folder', '{"path":"/"}', json, /Specify the root folder as an empty string/],
			['files/list_folder', '{"path":"a"}', json, /did not match pattern/],
			['files/list_folder', '{"path":"","limit":5000}', json, /not within range/],
			['files/list_folder', '{"path":"","colour":1}', json, /unknown field 'colour'/],
			['files/list_folder', '{"path":', json, /could not decode input as JSON/],
			['files/get_metadata', '{"path":""}', json, /root folder is unsupported/],
			['files/nonsense', '{}', json, /Unknown API function/],
			['files/upload', 'x', { 'Content-Type': 'application/octet-stream', 'Dropbox-API-Arg': Buffer.from('{"path":"/é"}').toString('latin1') }, /could not decode input as JSON/],
			['files/upload', 'x', { 'Content-Type': 'application/octet-stream', 'Dropbox-API-Arg': '{"path":"/e","client_modified":"2020-01-01T00:00:00.5Z"}' }, /does not match format/],
			['files/upload', 'x', { 'Content-Type': 'text/plain', 'Dropbox-API-Arg': '{"path":"/e"}' }, /Bad HTTP "Content-Type" header/],
			['files/download', '', { 'Content-Type': 'application/x-www-form-urlencoded', 'Dropbox-API-Arg': '{"path":"/e"}' }, /Bad HTTP "Content-Type" header/],
			['users/get_current_account', '{}', json, /expected null/],
		]) {
			const [status, text] = await rpc(route, body, headers);
			assert.equal(status, 400, `${route} ${body}: ${text}`);
			assert.match(text, want);
		}
		assert.equal((await nodeFetch(`${url}/2/users/get_current_account`, { method: 'POST' })).status, 400);
		await refused(409, 'path/malformed_path/', put('/trailing ', 'x'));
		await refused(409, 'path/malformed_path/', put('/back\\slash', 'x'));
		await refused(409, 'path/malformed_path/', put('/' + 'n'.repeat(256), 'x'));
		await put('/' + 'ü'.repeat(255), 'x');
		for (const name of ['.DS_Store', 'desktop.ini', 'Thumbs.db'])
			await refused(409, 'path/disallowed_name/', put('/' + name, 'x'));
		await put('/Straße', 'x');
		await gone('/strasse');
		assert.equal((await stat('/STRAßE')).name, 'Straße');
		await emu('set?wrong_case_parents=1');
		const shown = (await stat('/straße')).path_display;
		assert.equal(shown, root.toUpperCase() + '/Straße');
		await emu('reset');
	},

	// What the API cannot make.
	async samples() {
		await put('/notes.paper', 'body');
		await put('/film', 'body');
		await behind('emu/kind', { path: root + '/notes.paper', kind: 'paper' });
		await behind('emu/kind', { path: root + '/film', kind: 'restricted' });
		assert.equal((await stat('/notes.paper')).is_downloadable, false);
		await refused(409, 'unsupported_file/', get(root + '/notes.paper'));
		assert.equal((await dbx.filesExport({ path: root + '/notes.paper', export_format: 'markdown' })).result.fileBinary.toString(), 'body');
		await refused(409, 'path/restricted_content/', get(root + '/film'));
		const list = (await dbx.filesListFolder({ path: root, include_non_downloadable_files: false })).result.entries;
		assert.deepEqual(list.map((e) => e.name), ['film']);
	},

	async team() {
		await put('/mine', 'x');
		await emu('set?team=1');
		const info = (await dbx.usersGetCurrentAccount()).result.root_info;
		assert.equal(info['.tag'], 'team');
		assert.notEqual(info.root_namespace_id, info.home_namespace_id);
		assert.equal((await dbx.usersGetSpaceUsage()).result.allocation['.tag'], 'team');
		const asRoot = (tag) => client({ pathRoot: JSON.stringify(tag) });
		const space = asRoot({ '.tag': 'root', root: info.root_namespace_id });
		assert.deepEqual((await space.filesListFolder({ path: '' })).result.entries.map((e) => e.path_display), [info.home_path]);
		assert.equal((await space.filesGetMetadata({ path: `${info.home_path}${root}/mine` })).result.path_lower, `${info.home_path.toLowerCase()}${root}/mine`);
		assert.equal((await dbx.filesGetMetadata({ path: `ns:${info.home_namespace_id}${root}/mine` })).result.name, 'mine');
		await refused(409, 'path/no_write_permission/', space.filesUpload({ path: '/at the top', contents: 'x' }));
		await refused(409, 'cant_move_shared_folder/', space.filesMoveV2({ from_path: info.home_path, to_path: '/other' }));
		const e = await refused(422, 'invalid_root/', asRoot({ '.tag': 'root', root: info.home_namespace_id }).filesListFolder({ path: '' }));
		assert.equal(e.invalid_root.root_namespace_id, info.root_namespace_id);
		await refused(422, 'no_permission/', asRoot({ '.tag': 'namespace_id', namespace_id: '1' }).filesListFolder({ path: '' }));
		assert.equal((await asRoot({ '.tag': 'namespace_id', namespace_id: info.home_namespace_id }).filesGetMetadata({ path: root + '/mine' })).result.name, 'mine');
		await emu('reset');
		await refused(422, 'invalid_root/', space.filesListFolder({ path: '' }));
	},

	async faults() {
		await dbx.usersGetCurrentAccount();
		await emu('set?throttle_next=1&throttle_s=15');
		const e = await refused(429, 'too_many_requests/', stat('/x'));
		assert.deepEqual(e, { reason: { '.tag': 'too_many_requests' }, retry_after: 15 });
		await emu('set?throttle_text_next=1');
		await refused(429, 'Too many requests', stat('/x'));
		await emu('set?write_contention_next=4');
		await refused(409, 'path/too_many_write_operations/', put('/f', 'x'));
		await refused(409, 'path/too_many_write_operations/', dbx.filesCreateFolderV2({ path: root + '/d' }));
		const { session_id } = (await dbx.filesUploadSessionStart({ contents: 'abcd' })).result;
		const finish = (offset) => dbx.filesUploadSessionFinish({ cursor: { session_id, offset }, commit: { path: root + '/s' }, contents: '' });
		await refused(409, 'too_many_write_operations/', finish(4));
		await put('/f', 'x').catch(() => put('/f', 'x'));
		await refused(409, 'too_many_write_operations/', emu('set?write_contention_next=1').then(() => dbx.filesDeleteV2({ path: root + '/f' })));
		await emu('set?append_partial_next=1');
		await refused(500, '', dbx.filesUploadSessionAppendV2({ cursor: { session_id, offset: 4 }, contents: 'efgh' }));
		const off = await refused(409, 'incorrect_offset/', dbx.filesUploadSessionAppendV2({ cursor: { session_id, offset: 4 }, contents: 'efgh' }));
		assert.equal(off.correct_offset, 6);
		await emu('set?after_success_next=1&fault_op=files/upload_session/append_v2');
		await refused(500, '', dbx.filesUploadSessionAppendV2({ cursor: { session_id, offset: 6 }, contents: 'gh' }));
		await emu('set?no_space_next=1');
		await refused(409, 'path/insufficient_space/', finish(8));
		assert.equal((await finish(8)).result.size, 8);
		assert.equal((await get(root + '/s')).fileBinary.toString(), 'abcdefgh');
		await emu('set?from_unseen_next=1');
		await refused(409, 'from_lookup/not_found/', dbx.filesMoveV2({ from_path: root + '/s', to_path: root + '/t' }));
		await emu('set?internal_error_next=1');
		await refused(409, 'internal_error/', dbx.filesMoveV2({ from_path: root + '/s', to_path: root + '/t' }));
		await stat('/t');
		await emu('set?session_expire_next=1');
		const dead = (await dbx.filesUploadSessionStart({ contents: 'x' })).result.session_id;
		await refused(409, 'not_found/', dbx.filesUploadSessionAppendV2({ cursor: { session_id: dead, offset: 1 }, contents: 'y' }));
		await emu('set?range_ignored_next=1');
		assert.equal((await client({ customHeaders: { Range: 'bytes=1-2' } }).filesDownload({ path: root + '/t' })).status, 200);
		await emu('set?overlong_next=1');
		assert.equal((await get(root + '/t', client({ customHeaders: { Range: 'bytes=1-2' } }))).fileBinary.length, 7);
		await emu('set?missing_scope_next=1');
		assert.equal((await refused(401, 'missing_scope/', stat('/t'))).required_scope, 'files.metadata.read');
		await emu('set?quota=1');
		await refused(409, 'path/insufficient_space/', put('/more', 'x'));
		await emu('reset');
	},

	// Newer than this SDK: one body for several sessions.
	async 'append-batch'() {
		await dbx.usersGetCurrentAccount();
		const { session_ids } = (await dbx.filesUploadSessionStartBatch({ num_sessions: 2 })).result;
		const send = async (entries, body) => {
			const res = await nodeFetch(`${url}/2/files/upload_session/append_batch`, { method: 'POST', body, headers: { Authorization: `Bearer ${dbx.auth.getAccessToken()}`,
				'Content-Type': 'application/octet-stream', 'Dropbox-API-Arg': JSON.stringify({ entries }) } });
			return [res.status, await res.json()];
		};
		const entry = (session_id, length, close = true, offset = 0) => ({ cursor: { session_id, offset }, length, close });
		const [status, said] = await send([entry(session_ids[0], 3), entry('pid_upload_session:none', 2), entry(session_ids[1], 4)], 'one--four');
		assert.equal(status, 200);
		assert.deepEqual(said.entries.map((e) => e['.tag']), ['success', 'failure', 'success']);
		assert.equal(said.entries[1].failure['.tag'], 'not_found');
		const [bad, why] = await send([entry(session_ids[0], 3)], 'four');
		assert.equal(bad, 409);
		assert.equal(why.error['.tag'], 'length_mismatch');
		const entries = session_ids.map((session_id, i) => ({ cursor: { session_id, offset: 3 + i }, commit: { path: `${root}/${i}` } }));
		assert.deepEqual((await dbx.filesUploadSessionFinishBatchV2({ entries })).result.entries.map((e) => e['.tag']), ['success', 'success']);
		assert.equal((await get(root + '/1')).fileBinary.toString(), 'four');
	},

	// Sessions live 7 days, links 4 hours, codes a minute, access tokens 4 hours.
	async expiry() {
		await put('/f', 'x');
		const { link } = (await dbx.filesGetTemporaryLink({ path: root + '/f' })).result;
		const { session_id } = (await dbx.filesUploadSessionStart({ contents: 'x' })).result;
		await emu(`set?clock_skew=${5 * 3600}`);
		assert.equal((await nodeFetch(link)).status, 410);
		await refused(401, 'expired_access_token/', stat('/f'));
		await emu(`set?clock_skew=${8 * 86400}`);
		const later = client();
		await refused(409, 'not_found/', later.filesUploadSessionAppendV2({ cursor: { session_id, offset: 1 }, contents: 'y' }));
		await emu('reset');
		await refused(409, 'not_found/', dbx.filesUploadSessionAppendV2({ cursor: { session_id, offset: 1 }, contents: 'y' }));
		const grant = async (form) => (await nodeFetch(`${url}/oauth2/token`, { method: 'POST', body: new URLSearchParams({ client_id: clientId, ...form }) })).status;
		const sign = async () => new URL((await nodeFetch(`${url}/oauth2/authorize?client_id=${clientId}&response_type=code&redirect_uri=http%3A%2F%2Flocalhost%3A1%2F`,
			{ redirect: 'manual' })).headers.get('location')).searchParams.get('code');
		const form = { grant_type: 'authorization_code', redirect_uri: 'http://localhost:1/', client_secret: clientSecret };
		const code = await sign();
		assert.equal(await grant({ ...form, code, redirect_uri: 'http://localhost:2/' }), 400);
		assert.equal(await grant({ ...form, code, client_secret: 'wrong' }), 400);
		assert.equal(await grant({ ...form, code }), 200);
		assert.equal(await grant({ ...form, code }), 400);
		const slow = await sign();
		await emu('set?clock_skew=61');
		assert.equal(await grant({ ...form, code: slow }), 400);
		await emu('set?clock_skew=0&oauth_revoke=1');
		assert.equal(await grant({ grant_type: 'refresh_token', refresh_token: refreshToken }), 400);
		await emu('reset');
	},

	// The same cursor twice at once is throttled.
	async 'parallel-listing'() {
		await Promise.all(range(5, (i) => put(`/f${i}`, `${i}`)));
		const { cursor } = (await dbx.filesListFolder({ path: root, limit: 2 })).result;
		await emu('set?list_delay_ms=300');
		const both = await Promise.allSettled([dbx.filesListFolderContinue({ cursor }), dbx.filesListFolderContinue({ cursor })]);
		await emu('reset');
		assert.deepEqual(both.map((r) => r.status).sort(), ['fulfilled', 'rejected']);
		assert.equal(both.find((r) => r.status === 'rejected').reason.status, 429);
	},
};

// What a restart must not lose; called on both sides of one.
const around = {
	async 'before-restart'() {
		await put('/f', 'one', { client_modified: '2018-01-01T00:00:00Z' });
		const f = await put('/f', 'two', { mode: { '.tag': 'overwrite' } });
		const { cursor } = await all(await dbx.filesListFolder({ path: root, recursive: true }));
		const { session_id } = (await dbx.filesUploadSessionStart({ contents: 'abc' })).result;
		await dbx.filesUploadSessionAppendV2({ cursor: { session_id, offset: 3 }, contents: 'def' });
		await dbx.filesMoveV2({ from_path: root + '/f', to_path: root + '/g' });
		writeFileSync(notes, JSON.stringify({ root, f, cursor, session_id, token: dbx.auth.getAccessToken() }));
	},
	async 'after-restart'() {
		const was = JSON.parse(readFileSync(notes)), old = new Dropbox({ accessToken: was.token, fetch });
		const finish = { cursor: { session_id: was.session_id, offset: 6 }, commit: { path: was.root + '/s' }, contents: 'g' };
		assert.equal((await old.filesUploadSessionFinish(finish)).result.size, 7);
		assert.equal((await get(was.root + '/s')).fileBinary.toString(), 'abcdefg');
		const g = (await dbx.filesGetMetadata({ path: was.root + '/g' })).result;
		assert.equal(g.id, was.f.id);
		assert.equal(g.rev, was.f.rev);
		const { entries } = await all(await dbx.filesListFolderContinue({ cursor: was.cursor }));
		assert.deepEqual(entries.map((e) => [e['.tag'], e.name]), [['deleted', 'f'], ['file', 'g'], ['file', 's']]);
		assert.equal((await dbx.filesListRevisions({ path: was.root + '/f' })).result.entries.length, 2);
		assert.notEqual((await put('/new', 'x')).id, g.id);
	},
};

if (chapter === '--list') {
	console.log(Object.keys(chapters).join('\n'));
} else {
	await (chapters[chapter] ?? around[chapter])();
}

import type { NangoAction } from '../../models';

export default async function onEvent(nango: NangoAction): Promise<void> {
    const answer = await nango.get({ endpoint: '/user' });
    const scopes = String(answer.headers['x-oauth-scopes'] ?? '').split(/,\s*/);
    if (!scopes.includes('repo')) {
        throw new nango.ActionError({ message: 'The token lacks the scope "repo"' });
    }
}

import type { Issue, NangoSync, Picked } from '../../models';

interface GithubIssue {
    id: number;
    number: number;
    title: string;
    state: 'open' | 'closed';
    user: { login: string } | null;
    labels: { name: string }[];
    updated_at: string;
    pull_request?: object;
}

export default async function fetchData(nango: NangoSync): Promise<void> {
    const { repositories } = await nango.getMetadata<Picked>();
    for (const repository of repositories) {
        const pages = nango.paginate<GithubIssue>({
            endpoint: `/repos/${repository}/issues`,
            params: {
                state: 'all',
                ...(nango.lastSyncDate && { since: nango.lastSyncDate.toISOString() })
            },
            retries: 10
        });
        for await (const page of pages) {
            const issues = page.filter((raw) => !raw.pull_request);
            await nango.batchSave(issues.map((raw) => toIssue(repository, raw)), 'Issue');
        }
        await nango.log(`${repository} is done`);
    }
}

export async function onWebhookPayloadReceived(nango: NangoSync, payload: any): Promise<void> {
    const issue = toIssue(payload.repository.full_name, payload.issue);
    if (payload.action === 'deleted') {
        await nango.batchDelete([issue], 'Issue');
    } else {
        await nango.batchSave([issue], 'Issue');
    }
}

function toIssue(repository: string, raw: GithubIssue): Issue {
    return {
        id: String(raw.id),
        repository,
        number: raw.number,
        title: raw.title,
        state: raw.state,
        author: raw.user?.login ?? null,
        labels: raw.labels.map((label) => label.name),
        updated_at: new Date(raw.updated_at)
    };
}

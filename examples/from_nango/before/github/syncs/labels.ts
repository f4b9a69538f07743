import type { Label, NangoSync, Picked } from '../../models';

interface GithubLabel {
    id: number;
    name: string;
    color: string;
    url: string;
}

export default async function fetchData(nango: NangoSync): Promise<void> {
    const { repositories } = await nango.getMetadata<Picked>();
    for (const repository of repositories) {
        for await (const page of nango.paginate<GithubLabel>({
            endpoint: `/repos/${repository}/labels`,
            retries: 10
        })) {
            await nango.batchSave(page.map(toLabel), 'Label');
        }
    }
}

function toLabel(raw: GithubLabel): Label {
    const [, repository] = /\/repos\/([^/]+\/[^/]+)\//.exec(raw.url)!;
    return { id: String(raw.id), repository, name: raw.name, color: raw.color };
}
